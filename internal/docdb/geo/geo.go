// Package geo is the spatial part of the query language: GeoJSON geometries on the WGS-84 ellipsoid.
//
// The line between two points is the great ellipse: where a plane through them and the centre cuts the
// ellipsoid. Stretching the ellipsoid to a sphere turns it into a great circle, so everything but lengths
// and areas is worked out on that sphere, by S2. Recorded distances of the service agree with this to
// eleven digits over long ways; over short ways the service is wrong in the eighth digit.
//
// The inside of a ring lies to the left of whoever walks along it, so a ring that goes clockwise has
// everything else inside. Holes are the smaller side of their rings.
//
// [Geometry.Cells] are what an index keeps of a geometry: a few cells of S2 that cover it.
package geo

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/golang/geo/s1"
	"github.com/golang/geo/s2"
)

// The ellipsoid, in metres.
const (
	equator    = 6378137.0
	flattening = 1 / 298.257223563
	polar      = equator * (1 - flattening)
	squareE    = flattening * (2 - flattening)
)

// maxPoints bounds a geometry (the service's limit for polygons).
const maxPoints = 4096

// Geometry is a valid geometry.
type Geometry struct {
	points   []s2.Point
	lines    [][]s2.Point
	polygons []polygon
}

// polygon is an area with its holes.
type polygon struct {
	outer *s2.Loop
	holes []*s2.Loop
}

// InvalidError says why a value is no geometry.
type InvalidError struct{ Reason string }

// Error returns the reason.
func (e *InvalidError) Error() string { return e.Reason }

func invalid(format string, args ...any) error { return &InvalidError{fmt.Sprintf(format, args...)} }

// Parse reads a geometry. Its errors are [*InvalidError] values.
func Parse(text []byte) (*Geometry, error) {
	var in struct {
		Type        string          `json:"type"`
		Coordinates json.RawMessage `json:"coordinates"`
	}
	if err := json.Unmarshal(text, &in); err != nil || in.Coordinates == nil {
		return nil, invalid("The value is not a GeoJSON geometry.")
	}
	g := &Geometry{}
	switch in.Type {
	case "Point":
		return g, g.point(in.Coordinates)
	case "LineString":
		return g, g.line(in.Coordinates)
	case "Polygon":
		return g, g.polygon(in.Coordinates)
	case "MultiPolygon":
		var list []json.RawMessage
		if err := json.Unmarshal(in.Coordinates, &list); err != nil || len(list) == 0 {
			return nil, invalid("The coordinates of a MultiPolygon must be an array of those of polygons.")
		}
		for _, p := range list {
			if err := g.polygon(p); err != nil {
				return nil, err
			}
		}
		return g, nil
	}
	return nil, invalid("The type '%s' is not supported.", in.Type)
}

func (g *Geometry) point(text []byte) error {
	var c []float64
	if err := json.Unmarshal(text, &c); err != nil {
		return invalid("The coordinates of a Point must be an array of numbers.")
	}
	p, err := position(c)
	g.points = []s2.Point{p}
	return err
}

func (g *Geometry) line(text []byte) error {
	points, err := positions(text)
	if err != nil {
		return err
	}
	if len(points) < 2 {
		return invalid("A LineString must have two or more positions.")
	}
	g.lines = [][]s2.Point{points}
	return nil
}

func (g *Geometry) polygon(text []byte) error {
	var rings []json.RawMessage
	if err := json.Unmarshal(text, &rings); err != nil || len(rings) == 0 {
		return invalid("The coordinates of a Polygon must be an array of rings.")
	}
	var p polygon
	for i, r := range rings {
		loop, err := ring(r)
		if err != nil {
			return err
		}
		if i == 0 {
			p.outer = loop
			continue
		}
		loop.Normalize()
		p.holes = append(p.holes, loop)
	}
	g.polygons = append(g.polygons, p)
	return nil
}

// ring reads a closed line; the loop does not repeat its first point.
func ring(text []byte) (*s2.Loop, error) {
	points, err := positions(text)
	switch {
	case err != nil:
		return nil, err
	case len(points) < 4:
		return nil, invalid("A ring must have four or more positions.")
	case points[0] != points[len(points)-1]:
		return nil, invalid("The first and the last position of a ring must be the same.")
	}
	loop := s2.LoopFromPoints(points[:len(points)-1])
	if err := loop.Validate(); err != nil {
		return nil, invalid("A ring must not have two equal positions next to each other, nor opposite ones.")
	}
	return loop, nil
}

func positions(text []byte) ([]s2.Point, error) {
	var list [][]float64
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, invalid("The coordinates must be an array of positions.")
	}
	if len(list) > maxPoints {
		return nil, invalid("The geometry has more than %d positions.", maxPoints)
	}
	out := make([]s2.Point, len(list))
	for i, c := range list {
		p, err := position(c)
		if err != nil {
			return nil, err
		}
		out[i] = p
	}
	return out, nil
}

// position reads longitude and latitude, and stretches the point to the sphere.
func position(c []float64) (s2.Point, error) {
	switch {
	case len(c) < 2 || len(c) > 4:
		return s2.Point{}, invalid("A position must have a longitude and a latitude.")
	case math.Abs(c[1]) > 90:
		return s2.Point{}, invalid("Latitude values must be between -90 and 90 degrees.")
	case math.Abs(c[0]) > 180:
		return s2.Point{}, invalid("Longitude values must be between -180 and 180 degrees.")
	}
	lat := s1.Angle(math.Atan((1 - flattening) * math.Tan(c[1]*math.Pi/180)))
	return s2.PointFromLatLng(s2.LatLng{Lat: lat, Lng: s1.Angle(c[0] * math.Pi / 180)}), nil
}

// contains reports whether a point lies in the polygon.
func (p polygon) contains(x s2.Point) bool {
	if !p.outer.ContainsPoint(x) && !onRing(p.outer, x) {
		return false
	}
	for _, h := range p.holes {
		if h.ContainsPoint(x) && !onRing(h, x) {
			return false
		}
	}
	return true
}

// near is what counts as the same place: about a millimetre.
const near = s1.Angle(1.5e-10)

func onRing(l *s2.Loop, x s2.Point) bool {
	for i := range l.NumEdges() {
		if e := l.Edge(i); s2.DistanceFromSegment(x, e.V0, e.V1) < near {
			return true
		}
	}
	return false
}

// edge is a part of a line or of a ring; of a point, both ends are it.
type edge struct{ a, b s2.Point }

func (g *Geometry) edges() (out []edge) {
	for _, p := range g.points {
		out = append(out, edge{p, p})
	}
	for _, l := range g.lines {
		for i := range len(l) - 1 {
			out = append(out, edge{l[i], l[i+1]})
		}
	}
	for _, p := range g.polygons {
		for _, l := range append([]*s2.Loop{p.outer}, p.holes...) {
			for i := range l.NumEdges() {
				e := l.Edge(i)
				out = append(out, edge{e.V0, e.V1})
			}
		}
	}
	return out
}

// Edges is how many points, and parts of lines and rings, the geometry has.
func (g *Geometry) Edges() int {
	n := len(g.points)
	for _, l := range g.lines {
		n += len(l) - 1
	}
	for _, p := range g.polygons {
		n += p.outer.NumEdges()
		for _, h := range p.holes {
			n += h.NumEdges()
		}
	}
	return n
}

func (e edge) isPoint() bool { return e.a == e.b }

// meets reports whether two edges have a point in common.
func (e edge) meets(f edge) bool {
	if !e.isPoint() && !f.isPoint() && s2.CrossingSign(e.a, e.b, f.a, f.b) == s2.Cross {
		return true
	}
	return f.touches(e.a) || f.touches(e.b) || e.touches(f.a) || e.touches(f.b)
}

func (e edge) touches(p s2.Point) bool {
	if e.isPoint() {
		return e.a.Distance(p) < near
	}
	return s2.DistanceFromSegment(p, e.a, e.b) < near
}

// covers reports whether a point lies in one of the polygons.
func (g *Geometry) covers(x s2.Point) bool {
	for _, p := range g.polygons {
		if p.contains(x) {
			return true
		}
	}
	return false
}

// Intersects reports whether two geometries have a point in common.
func (g *Geometry) Intersects(h *Geometry) bool {
	mine, others := g.edges(), h.edges()
	for _, e := range mine {
		if h.covers(e.a) {
			return true
		}
	}
	for _, f := range others {
		if g.covers(f.a) {
			return true
		}
	}
	for _, e := range mine {
		for _, f := range others {
			if e.meets(f) {
				return true
			}
		}
	}
	return false
}

// Within reports whether all of g lies in h.
func (g *Geometry) Within(h *Geometry) bool {
	if len(h.polygons) == 0 {
		return g.along(h)
	}
	others := h.edges()
	for _, e := range g.edges() {
		if !h.covers(e.a) || !h.covers(e.b) || !h.covers(s2.Interpolate(0.5, e.a, e.b)) {
			return false
		}
		for _, f := range others {
			if !e.isPoint() && s2.CrossingSign(e.a, e.b, f.a, f.b) == s2.Cross {
				return false
			}
		}
	}
	for _, f := range others { // a hole, or what is around, inside of g
		for _, p := range g.polygons {
			if p.outer.ContainsPoint(f.a) && !onRing(p.outer, f.a) {
				return false
			}
		}
	}
	return true
}

// along reports whether g, points or lines, lies on the points and lines of h.
func (g *Geometry) along(h *Geometry) bool {
	if len(g.polygons) > 0 {
		return false
	}
	for _, e := range g.edges() {
		for _, x := range []s2.Point{e.a, s2.Interpolate(0.5, e.a, e.b), e.b} {
			on := false
			for _, f := range h.edges() {
				on = on || f.touches(x)
			}
			if !on {
				return false
			}
		}
	}
	return true
}

// Cells are cells that cover the geometry, as far as possible without what lies beside it.
func (g *Geometry) Cells(most int) []uint64 {
	c := &s2.RegionCoverer{MaxLevel: 24, MaxCells: most}
	var union s2.CellUnion
	for _, p := range g.points {
		union = append(union, s2.CellFromPoint(p).ID().Parent(24))
	}
	for _, l := range g.lines {
		line := s2.Polyline(l)
		union = append(union, c.Covering(&line)...)
	}
	for _, p := range g.polygons {
		union = append(union, c.Covering(p.outer)...)
	}
	union.Normalize()
	return ids(union)
}

// Around are cells that cover everything within so many metres of the geometry.
func (g *Geometry) Around(metres float64, most int) []uint64 {
	if metres > equator*3 {
		return ids(s2.CellUnion(s2.FullCap().CellUnionBound()))
	}
	var union s2.CellUnion
	for _, id := range g.Cells(most) {
		union = append(union, s2.CellID(id))
	}
	// The sphere of radius 1 has no length that is more than 1/polar of that on the ellipsoid.
	union.ExpandByRadius(s1.Angle(metres/polar*(1+1e-6)), 8)
	if len(union) > 4*most {
		c := &s2.RegionCoverer{MaxLevel: 24, MaxCells: most}
		union = c.Covering(union.CapBound())
	}
	return ids(union)
}

func ids(union s2.CellUnion) []uint64 {
	out := make([]uint64, len(union))
	for i, c := range union {
		out[i] = uint64(c)
	}
	return out
}

// Span is the range of the identities of all cells in a cell, both ends included.
func Span(cell uint64) (low, high uint64) {
	c := s2.CellID(cell)
	return uint64(c.RangeMin()), uint64(c.RangeMax())
}

// Ancestors are the cells around a cell, the smallest first.
func Ancestors(cell uint64) (out []uint64) {
	for c := s2.CellID(cell); c.Level() > 0; {
		c = c.Parent(c.Level() - 1)
		out = append(out, uint64(c))
	}
	return out
}
