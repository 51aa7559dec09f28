package geo

import (
	"math"
	"strings"
	"testing"
)

func mustParse(t testing.TB, text string) *Geometry {
	t.Helper()
	g, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return g
}

const (
	square  = `{"type":"Polygon","coordinates":[[[0,0],[10,0],[10,10],[0,10],[0,0]]]}`
	inner   = `{"type":"Polygon","coordinates":[[[2,2],[4,2],[4,4],[2,4],[2,2]]]}`
	across  = `{"type":"Polygon","coordinates":[[[5,5],[15,5],[15,8],[5,8],[5,5]]]}`
	away    = `{"type":"Polygon","coordinates":[[[20,20],[30,20],[30,30],[20,30],[20,20]]]}`
	holed   = `{"type":"Polygon","coordinates":[[[0,0],[10,0],[10,10],[0,10],[0,0]],[[1,1],[1,9],[9,9],[9,1],[1,1]]]}`
	inverse = `{"type":"Polygon","coordinates":[[[0,0],[0,10],[10,10],[10,0],[0,0]]]}`
	twice   = `{"type":"MultiPolygon","coordinates":[[[[0,0],[1,0],[1,1],[0,1],[0,0]]],[[[20,20],[30,20],[30,30],[20,30],[20,20]]]]}`
	line    = `{"type":"LineString","coordinates":[[-5,5],[15,5]]}`
)

func point(c string) string { return `{"type":"Point","coordinates":[` + c + `]}` }

func TestRelations(t *testing.T) {
	for _, tt := range []struct {
		a, b               string
		within, intersects bool
	}{
		{point("5,5"), square, true, true},
		{point("0,5"), square, true, true}, // on the edge
		{point("-1,5"), square, false, false},
		{point("5,5"), holed, false, false},
		{point("0.5,0.5"), holed, true, true},
		{point("5,5"), inverse, false, false},
		{point("50,50"), inverse, true, true},
		{point("25,25"), twice, true, true},
		{point("5,5"), point("5,5"), true, true},
		{point("5,5"), point("5,5.1"), false, false},
		{inner, square, true, true},
		{square, inner, false, true},
		{inner, holed, false, false},
		{across, square, false, true},
		{away, square, false, false},
		{away, twice, true, true},
		{square, square, true, true},
		{line, square, false, true},
		{line, away, false, false},
		{`{"type":"LineString","coordinates":[[1,1],[2,2]]}`, square, true, true},
		{`{"type":"LineString","coordinates":[[-1,20],[20,-1]]}`, square, false, true},
	} {
		a, b := mustParse(t, tt.a), mustParse(t, tt.b)
		if got := a.Within(b); got != tt.within {
			t.Errorf("%s within %s: %v", tt.a, tt.b, got)
		}
		if got := a.Intersects(b); got != tt.intersects {
			t.Errorf("%s intersects %s: %v", tt.a, tt.b, got)
		}
		if b.Intersects(a) != tt.intersects {
			t.Errorf("%s and %s do not meet both ways", tt.b, tt.a)
		}
		if d := a.Distance(b); (d == 0) != tt.intersects {
			t.Errorf("distance of %s and %s: %v", tt.a, tt.b, d)
		}
	}
}

// TestDistances compares with geodesics, which are shorter than great ellipses by less than a millionth.
func TestDistances(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want float64
	}{
		{point("0,0"), point("0,90"), 10001965.729},
		{point("0,0"), point("90,0"), 10018754.171},
		{point("-122.33,47.6"), point("-0.12,51.5"), 7704303.7},
		{point("10,0"), square, 0},
		{point("11,0"), square, 111319.491},
		{point("0,0"), point("0,0"), 0},
	} {
		got := mustParse(t, tt.a).Distance(mustParse(t, tt.b))
		if math.Abs(got-tt.want) > 1e-3*tt.want && tt.want > 1e7 || math.Abs(got-tt.want) > 3e-3*tt.want+1e-6 {
			t.Errorf("%s to %s: %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestAreas(t *testing.T) {
	const earth = 5.100656217240886e14
	whole := mustParse(t, square).Area() + mustParse(t, inverse).Area()
	if math.Abs(whole-earth) > 1e-9*earth {
		t.Errorf("inside and outside are %v, the Earth is %v", whole, earth)
	}
	if got := mustParse(t, holed).Area(); got <= 0 || got >= mustParse(t, square).Area() {
		t.Errorf("with a hole: %v", got)
	}
	octant := mustParse(t, `{"type":"Polygon","coordinates":[[[0,0],[90,0],[0,90],[0,0]]]}`).Area()
	if math.Abs(octant-earth/8) > 1e-9*earth {
		t.Errorf("an eighth of the Earth is %v, want %v", octant, earth/8)
	}
	if mustParse(t, line).Area() != 0 {
		t.Error("a line has an area")
	}
}

func TestInvalid(t *testing.T) {
	for text, want := range map[string]string{
		point("133.7,-184.3"):                   "Latitude values must be between -90 and 90 degrees.",
		point("-184.3,13"):                      "Longitude values must be between -180 and 180 degrees.",
		point("1"):                              "longitude and a latitude",
		`{"type":"Circle","coordinates":[1,2]}`: "not supported",
		`{"type":"Point"}`:                      "not a GeoJSON",
		`7`:                                     "not a GeoJSON",
		`{"type":"LineString","coordinates":[[0,0]]}`:                  "two or more",
		`{"type":"Polygon","coordinates":[[[0,0],[1,1],[0,0]]]}`:       "four or more",
		`{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,1]]]}`: "must be the same",
		`{"type":"MultiPolygon","coordinates":[]}`:                     "MultiPolygon",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// TestCells: what meets a geometry has a cell in common with it, or one lies in the other's.
func TestCells(t *testing.T) {
	all := []string{square, inner, across, away, holed, inverse, twice, line, point("5,5"), point("0.5,0.5"), point("50,50"), point("0,0"), point("11,0")}
	for _, a := range all {
		for _, b := range all {
			g, h := mustParse(t, a), mustParse(t, b)
			if g.Intersects(h) && !share(g.Cells(8), h.Cells(8)) {
				t.Errorf("%s meets %s, the cells do not", a, b)
			}
			if d := g.Distance(h); !share(g.Around(d+1, 8), h.Cells(8)) {
				t.Errorf("%s is %v from %s, the cells are not", a, d, b)
			}
		}
	}
}

func share(a, b []uint64) bool {
	for _, x := range a {
		low, high := Span(x)
		for _, y := range b {
			l, h := Span(y)
			if l <= high && low <= h {
				return true
			}
		}
	}
	return false
}

// FuzzParse: no text makes the package fall.
func FuzzParse(f *testing.F) {
	for _, s := range []string{square, holed, inverse, twice, line, point("5,5"), `{"type":"Polygon","coordinates":[[[0,90],[1,90],[2,90],[0,90]]]}`} {
		f.Add(s)
	}
	box := mustParse(f, square)
	f.Fuzz(func(t *testing.T, text string) {
		g, err := Parse([]byte(text))
		if err != nil || g.Edges() > 200 {
			return
		}
		g.Within(box)
		box.Within(g)
		g.Distance(box)
		g.Area()
		g.Cells(8)
	})
}
