package cosmos

import (
	"net/http"
	"strconv"
)

// engineConfiguration is what clients are told about the query engine: JSON inside a string.
const engineConfiguration = `{"maxSqlQueryInputLength":262144,"maxJoinsPerSqlQuery":10,"maxLogicalAndPerSqlQuery":2000,"maxLogicalOrPerSqlQuery":2000,"maxUdfRefPerSqlQuery":10,"maxInExpressionItemsCount":16000,"queryMaxInMemorySortDocumentCount":500,"maxQueryRequestTimeoutFraction":0.9,"sqlAllowNonFiniteNumbers":false,"sqlAllowAggregateFunctions":true,"sqlAllowSubQuery":true,"sqlAllowScalarSubQuery":true,"allowNewKeywords":true,"sqlAllowLike":true,"sqlAllowGroupByClause":true,"maxSpatialQueryCells":12,"spatialMaxGeometryPointCount":256,"sqlDisableOptimizationFlags":0,"sqlAllowTop":true,"enableSpatialIndexing":true}`

type location struct {
	Name     string `json:"name"`
	Endpoint string `json:"databaseAccountEndpoint"`
}

// accountRoot answers GET /. Every client goes on at the address it finds there, so it is the one
// that the caller used.
func (x *exchange) accountRoot() error {
	if x.r.Method != http.MethodGet {
		return methodNotAllowed()
	}
	if err := x.Service.AdmitAccount(x.r.Context(), x.caller, x.account.ID); err != nil {
		return err
	}
	here := []location{{Name: x.account.Location, Endpoint: "https://" + x.authority() + "/"}}
	x.answer(http.StatusOK, mustJSON(map[string]any{
		"_self": "", "id": x.account.Name, "_rid": x.account.Name + ".sql.cosmos.azure.com", "media": "//media/",
		"addresses": "//addresses/", "_dbs": "//dbs/", "writableLocations": here, "readableLocations": here,
		"enableMultipleWriteLocations": false, "continuousBackupEnabled": false, "enableNRegionSynchronousCommit": false,
		"enablePerPartitionFailoverBehavior": false, "disableCrossRegionalHedging": false,
		"userReplicationPolicy":    map[string]any{"asyncReplication": false, "minReplicaSetSize": 1, "maxReplicasetSize": 4},
		"systemReplicationPolicy":  map[string]any{"minReplicaSetSize": 1, "maxReplicasetSize": 4},
		"userConsistencyPolicy":    map[string]any{"defaultConsistencyLevel": x.account.DefaultConsistency},
		"readPolicy":               map[string]any{"primaryReadCoefficient": 1, "secondaryReadCoefficient": 1},
		"queryEngineConfiguration": engineConfiguration,
	}))
	return nil
}

// authority is the host and port that the caller used. Hosts of the cloud come without a port here
// and are shown with theirs.
func (x *exchange) authority() string {
	host := x.r.Host
	for i := len(host) - 1; i >= 0; i-- {
		if host[i] == ':' {
			return host
		}
		if host[i] < '0' || host[i] > '9' {
			break
		}
	}
	return host + ":" + strconv.Itoa(443)
}
