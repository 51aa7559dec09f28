package test

import (
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
)

// emulatorKey is the key of the Cosmos DB emulator, which is public knowledge.
const emulatorKey = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=="

func options(s *scenario) *arm.ClientOptions {
	o := &arm.ClientOptions{DisableRPRegistration: true}
	o.Transport = s.http
	return o
}

func disabled() azkeys.UpdateKeyParameters {
	return azkeys.UpdateKeyParameters{KeyAttributes: &azkeys.KeyAttributes{Enabled: ptr(false)}}
}

// emulatorContainer makes a container in the emulator's account, at its own address.
func (s *scenario) emulatorContainer() *azcosmos.ContainerClient {
	s.t.Helper()
	cred, err := azcosmos.NewKeyCredential(emulatorKey)
	if err != nil {
		s.t.Fatal(err)
	}
	o := &azcosmos.ClientOptions{}
	o.Transport = s.http
	c, err := azcosmos.NewClientWithKey("https://"+s.run.Addresses.Emulator+"/", cred, o)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := c.CreateDatabase(s.t.Context(), azcosmos.DatabaseProperties{ID: "db1"}, nil); err != nil {
		s.t.Fatal(err)
	}
	db, err := c.NewDatabase("db1")
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := db.CreateContainer(s.t.Context(), azcosmos.ContainerProperties{
		ID: "c1", PartitionKeyDefinition: azcosmos.PartitionKeyDefinition{Paths: []string{"/city"}},
	}, nil); err != nil {
		s.t.Fatal(err)
	}
	cc, err := c.NewContainer("db1", "c1")
	if err != nil {
		s.t.Fatal(err)
	}
	return cc
}
