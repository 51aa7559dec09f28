package webhook

import (
	"time"
)

// Event is what is told, in the form of CloudEvents 1.0.
type Event struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"`
	Source      string    `json:"source"` // resource id of the vault
	Type        string    `json:"type"`
	Subject     string    `json:"subject"` // name of the object
	Time        time.Time `json:"time"`
	ContentType string    `json:"datacontenttype"`
	Data        Data      `json:"data"`
}

// Data is what the service's events of vaults tell. Times are Unix seconds.
type Data struct {
	ID         string `json:"Id"` // address of the version
	VaultName  string `json:"VaultName"`
	ObjectType string `json:"ObjectType"`
	ObjectName string `json:"ObjectName"`
	Version    string `json:"Version"`
	NotBefore  *int64 `json:"NBF"`
	Expires    *int64 `json:"EXP"`
}

// official are the events that the service has; the others are ours and say so.
var official = map[string]bool{"NewVersionCreated": true, "NearExpiry": true, "Expired": true}

// New completes an event about an object: what is its type without the object's kind.
func New(id, source, what string, at time.Time, d Data) Event {
	prefix := "Latchkey.KeyVault."
	if official[what] {
		prefix = "Microsoft.KeyVault."
	}
	return Event{SpecVersion: "1.0", ID: id, Source: source, Type: prefix + d.ObjectType + what, Subject: d.ObjectName,
		Time: at.UTC(), ContentType: "application/json", Data: d}
}

// Seconds is a time for [Data]; nil for 0, which is none.
func Seconds(s int64) *int64 {
	if s == 0 {
		return nil
	}
	return &s
}
