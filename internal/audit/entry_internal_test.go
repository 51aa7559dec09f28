package audit

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-db/latchkey/internal/fault"
)

// FuzzEncodeEvent: the short way to write an event and the general one give the same bytes.
func FuzzEncodeEvent(f *testing.F) {
	f.Add("KeyUnwrap", "https://kv.vault.azure.net/keys/k/1", "succeeded", "", "p", "", int64(1700000000123456), int64(7))
	f.Add("", "", "", "", "", "", int64(0), int64(0))
	f.Add("<&>", "\\", "\"", "\x7f", "\u2028", "\xff", int64(-1), int64(-7))
	f.Add(strings.Repeat("x", maxString), strings.Repeat("x", maxString+1), "é", "\n", "\u202e", "'", int64(1e18), int64(1))
	f.Fuzz(func(t *testing.T, operation, resource, outcome, reason, principal, detail string, micros, took int64) {
		e := Event{Time: time.UnixMicro(micros).UTC(), Operation: operation, Resource: resource, Outcome: Outcome(outcome), Reason: reason,
			Principal: principal, AppID: reason, Caller: operation, Address: outcome, Request: detail, Version: principal, Detail: detail, Micros: took,
			Kind: fault.Kind(took), Client: resource, URI: detail, Gate: reason, Scope: principal}
		if took != 0 {
			e.Key = &Key{Type: operation, Size: int(took), Curve: outcome}
		}
		got, err := encodeEvent(e)
		want, wantErr := encodeAny(e)
		if !bytes.Equal(got, want) || (err == nil) != (wantErr == nil) {
			t.Errorf("%s, %v\nwant %s, %v", got, err, want, wantErr)
		}
	})
}

// TestNoMemberIsForgotten fills every member of an event: the short way must write all of them.
func TestNoMemberIsForgotten(t *testing.T) {
	var e Event
	v := reflect.ValueOf(&e).Elem()
	for i := range v.NumField() {
		fill(t, v.Type().Field(i).Name, v.Field(i))
	}
	want, err := encodeAny(e)
	if err != nil || !e.plain() {
		t.Fatalf("the event is not plain: %+v, %v", e, err)
	}
	if got := e.appendPlain(nil); !bytes.Equal(got, want) {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func fill(t *testing.T, name string, v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(1, 1000).UTC()))
	case v.Kind() == reflect.String:
		v.SetString(name)
	case v.CanInt():
		v.SetInt(7)
	case v.CanUint():
		v.SetUint(7)
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		for i := range v.Elem().NumField() {
			fill(t, name, v.Elem().Field(i))
		}
	default:
		t.Fatalf("member %s: no value for a %s", name, v.Type())
	}
}

func BenchmarkEncodeEvent(b *testing.B) {
	e := Event{Time: time.Now(), Operation: "KeyUnwrap", Resource: "https://mykeyvault.vault.azure.net/keys/k/0123456789abcdef0123456789abcdef",
		Outcome: Succeeded, Principal: "00000000-0000-0000-0000-000000000000", Address: "127.0.0.1", Version: "0123456789abcdef0123456789abcdef", Micros: 300}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := encodeEvent(e); err != nil {
			b.Fatal(err)
		}
	}
}
