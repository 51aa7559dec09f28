package keyvault

import "strings"

// Endpoints are the method and path of everything that is served, for tests that leave nothing out.
func Endpoints() (all []string) {
	for place, patterns := range endpoints {
		for _, p := range patterns {
			all = append(all, place.method+" "+strings.Join(p.segments, "/"))
		}
	}
	return all
}
