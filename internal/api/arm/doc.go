// Package arm is the front door of Resource Manager: it verifies the token, parses the resource id,
// checks the api-version, gives the request to the provider of the id's namespace, and turns the
// outcome into the wire form that az, the SDKs and Terraform know.
//
// # Providers
//
// A [Provider] owns a namespace (Microsoft.KeyVault) or an extension namespace
// (Microsoft.Authorization, which hangs below any scope). It gets a [Request] and returns a
// [Response] or an error; it writes no header and no status line of its own. It authorises nothing
// itself either: the domain method that it calls does.
//
// # Paths
//
// Resource ids compare without regard to case. The router never redirects: a redirect would lose the
// body of a PUT. Empty segments and a trailing slash are tolerated. Actions are POST requests
// whose last segment names the action (…/databaseAccounts/a/listKeys).
//
// # Long-running operations
//
// A provider that cannot answer at once returns an operation id. The door adds the headers with
// which every client polls (Azure-AsyncOperation, Location, Retry-After) and serves both addresses. Python
// and Go read Azure-AsyncOperation and then the resource; JavaScript, after a PATCH, reads Location,
// which therefore answers with the resource. Python waits 30 seconds where no Retry-After is given,
// and takes a Retry-After of 0 for none.
package arm
