package keyvault_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestWrongRequests: what is oversized, malformed or unknown has the code that it deserves, and none is an
// unexpected condition.
func TestWrongRequests(t *testing.T) {
	w := newWorld(t)
	const host, v = "https://kv1.vault.azure.net", "?api-version=7.4"
	if a := w.do(http.MethodPost, host+"/keys/k/create"+v, `{"kty":"RSA"}`); a.status != http.StatusOK {
		t.Fatal(a.body)
	}
	if a := w.do(http.MethodPost, host+"/keys/e/create"+v, `{"kty":"EC"}`); a.status != http.StatusOK {
		t.Fatal(a.body)
	}
	big := strings.Repeat("A", 300<<10)
	digest := strings.Repeat("A", 43) // 32 bytes
	for name, tc := range map[string]struct {
		method, path, body string
		status             int
		code               string
	}{
		"no api-version":           {"GET", "/keys/k", "", 400, "BadParameter"},
		"old api-version":          {"GET", "/keys/k?api-version=2016-10-01", "", 400, "BadParameter"},
		"api-version of next year": {"GET", "/keys/k?api-version=7.99", "", 400, "BadParameter"},
		"api-version that is none": {"GET", "/keys/k?api-version=%ff%00", "", 400, "BadParameter"},
		"body too large":           {"POST", "/keys/k/sign" + v, `{"alg":"RS256","value":"` + big + `"}`, 413, "BadParameter"},
		"half a body":              {"POST", "/keys/k/sign" + v, `{"alg":"RS256"`, 400, "BadParameter"},
		"no JSON":                  {"POST", "/keys/k/sign" + v, "alg=RS256", 400, "BadParameter"},
		"a list":                   {"POST", "/keys/k/sign" + v, "[]", 400, "BadParameter"},
		"no body":                  {"POST", "/keys/k/sign" + v, "", 400, "BadParameter"},
		"deep":                     {"POST", "/keys/k/sign" + v, strings.Repeat("[", 20_000), 400, "BadParameter"},
		"invalid UTF-8":            {"POST", "/keys/k/sign" + v, "{\"alg\":\"\xff\"}", 400, "BadParameter"},
		"a number for a word":      {"POST", "/keys/k/sign" + v, `{"alg":1,"value":""}`, 400, "BadParameter"},
		"no base64":                {"POST", "/keys/k/sign" + v, `{"alg":"RS256","value":"***"}`, 400, "BadParameter"},
		"unknown algorithm":        {"POST", "/keys/k/sign" + v, `{"alg":"HS999","value":"` + digest + `"}`, 400, "BadParameter"},
		"algorithm of another key": {"POST", "/keys/e/sign" + v, `{"alg":"RS256","value":"` + digest + `"}`, 400, "BadParameter"},
		"another curve's":          {"POST", "/keys/e/sign" + v, `{"alg":"ES384","value":"` + digest + digest[:21] + `"}`, 400, "BadParameter"},
		"digest too short":         {"POST", "/keys/k/sign" + v, `{"alg":"RS256","value":"AAAA"}`, 400, "BadParameter"},
		"not what was wrapped":     {"POST", "/keys/k/unwrapkey" + v, `{"alg":"RSA-OAEP-256","value":"AAAA"}`, 400, "BadParameter"},
		"unknown type of key":      {"POST", "/keys/x/create" + v, `{"kty":"DSA"}`, 400, "BadParameter"},
		"size of no key":           {"POST", "/keys/x/create" + v, `{"kty":"RSA","key_size":1024}`, 400, "BadParameter"},
		"negative size":            {"POST", "/keys/x/create" + v, `{"kty":"RSA","key_size":-1}`, 400, "BadParameter"},
		"huge size":                {"POST", "/keys/x/create" + v, `{"kty":"RSA","key_size":99999999999999999999}`, 400, "BadParameter"},
		"unknown curve":            {"POST", "/keys/x/create" + v, `{"kty":"EC","crv":"P-1"}`, 400, "BadParameter"},
		"time out of range":        {"PATCH", "/keys/k/" + v, `{"attributes":{"exp":1e300}}`, 400, "BadParameter"},
		"name too long":            {"GET", "/keys/" + strings.Repeat("a", 128) + v, "", 400, "BadParameter"},
		"name with an underscore":  {"GET", "/keys/a_b" + v, "", 400, "BadParameter"},
		"name that climbs":         {"GET", "/keys/%2e%2e%2fsecrets" + v, "", 400, "BadParameter"},
		"no version":               {"GET", "/keys/k/xyz" + v, "", 400, "BadParameter"},
		"unknown collection":       {"GET", "/dogs" + v, "", 404, "NotFound"},
		"unknown operation":        {"POST", "/keys/k/fly" + v, "{}", 404, "NotFound"},
		"unknown method":           {"TRACE", "/keys/k" + v, "", 404, "NotFound"},
		"page that is none":        {"GET", "/keys" + v + "&maxresults=abc", "", 400, "BadParameter"},
		"mark that is none":        {"GET", "/keys" + v + "&$skiptoken=%25%25", "", 400, "BadParameter"},
		"no backup":                {"POST", "/keys/restore" + v, `{"value":"AAAA"}`, 400, "Malformed backup blob"},
	} {
		a := w.do(tc.method, host+tc.path, tc.body)
		if a.status != tc.status || !strings.Contains(a.body, `"code":"`+tc.code+`"`) {
			t.Errorf("%s: %d %.300s, want %d %s", name, a.status, a.body, tc.status, tc.code)
		}
	}
}
