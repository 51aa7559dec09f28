package geo

import (
	"math"

	"github.com/golang/geo/r3"
	"github.com/golang/geo/s2"
)

// Lengths and areas are integrals over great ellipses, taken by Gauss and Legendre's rule in pieces that are short enough
// for all digits of a double but the last ones.
var nodes, weights = [5]float64{0, 0.5384693101056831, -0.5384693101056831, 0.906179845938664, -0.906179845938664},
	[5]float64{0.5688888888888889, 0.47862867049936647, 0.47862867049936647, 0.23692688505618908, 0.23692688505618908}

// maxStep is the longest piece, as an angle.
const maxStep = 0.02

// integrate is the integral of f from 0 to the end.
func integrate(end float64, f func(t float64) float64) (sum float64) {
	n := math.Ceil(math.Abs(end)/maxStep) + 1
	half := end / n / 2
	for i := 0.0; i < n; i++ {
		for k, x := range nodes {
			sum += weights[k] * f(half*(2*i+1+x))
		}
	}
	return sum * half
}

// turn is the arc from a towards b on the sphere: the place at an angle is cos(t) a + sin(t) across.
func turn(a, b s2.Point) (across r3.Vector, angle float64) {
	angle = float64(a.Distance(b))
	if angle == 0 {
		return r3.Vector{}, 0
	}
	across = b.Sub(a.Mul(a.Dot(b.Vector))).Normalize()
	return across, angle
}

// length is that of the great ellipse between two points, in metres.
func length(a, b s2.Point) float64 {
	across, angle := turn(a, b)
	return integrate(angle, func(t float64) float64 {
		v := across.Mul(math.Cos(t)).Sub(a.Mul(math.Sin(t)))
		return math.Sqrt(equator*equator*(v.X*v.X+v.Y*v.Y) + polar*polar*v.Z*v.Z)
	})
}

// Distance is that of two geometries in metres; 0 when they meet.
func (g *Geometry) Distance(h *Geometry) float64 {
	if g.Intersects(h) {
		return 0
	}
	best := math.Inf(1)
	others := h.edges()
	for _, e := range g.edges() {
		for _, f := range others {
			best = min(best, e.distance(f))
		}
	}
	return best
}

func (e edge) distance(f edge) float64 {
	return min(f.from(e.a), f.from(e.b), e.from(f.a), e.from(f.b))
}

// from is the distance of a point.
func (e edge) from(p s2.Point) float64 {
	if e.isPoint() {
		return length(p, e.a)
	}
	return length(p, s2.Project(p, e.a, e.b))
}

// Area is that of the polygons in square metres.
func (g *Geometry) Area() (sum float64) {
	for _, p := range g.polygons {
		sum += area(p.outer)
		for _, h := range p.holes {
			sum -= area(h)
		}
	}
	return sum
}

// area is that to the left of a ring: the area between each edge and the equator, and where the ring goes round a
// pole or has most of the Earth inside, what is missing to the whole.
func area(l *s2.Loop) float64 {
	sum := 0.0
	for i := range l.NumEdges() {
		e := l.Edge(i)
		across, angle := turn(e.V0, e.V1)
		sum -= integrate(angle, func(t float64) float64 {
			p := e.V0.Mul(math.Cos(t)).Add(across.Mul(math.Sin(t)))
			v := across.Mul(math.Cos(t)).Sub(e.V0.Mul(math.Sin(t)))
			r := p.X*p.X + p.Y*p.Y
			if r == 0 {
				return 0
			}
			return zone(p.Z) * (p.X*v.Y - p.Y*v.X) / r
		})
	}
	sum -= poles(l)
	whole := 4 * math.Pi * zone(1)
	approx := l.Area() / (4 * math.Pi) * whole
	for sum < approx-whole/8 {
		sum += whole / 2
	}
	for sum > approx+whole/8 {
		sum -= whole / 2
	}
	return sum
}

// poles is what the corners of a ring at a pole add: there the longitude jumps.
func poles(l *s2.Loop) (sum float64) {
	n := l.NumVertices()
	for i := range n {
		p := l.Vertex(i)
		if math.Hypot(p.X, p.Y) > 1e-14 {
			continue
		}
		before, behind := s2.LatLngFromPoint(l.Vertex(i+n-1)), s2.LatLngFromPoint(l.Vertex(i+1))
		sum += zone(p.Z) * math.Remainder(float64(behind.Lng-before.Lng), 2*math.Pi)
	}
	return sum
}

// zone is the area between the equator and a height z of the stretched sphere, for an angle of 1 of longitude.
func zone(z float64) float64 {
	// The sphere's latitude is the reduced one, b: sin of the geographic one is z/sqrt(1-e²(1-z²))… and the area to it
	// is b²/2 (s/(1-e²s²) + atanh(es)/e).
	s := z / math.Sqrt((1-squareE)+squareE*z*z)
	s = math.Max(-1, math.Min(1, s))
	e := math.Sqrt(squareE)
	return polar * polar / 2 * (s/(1-squareE*s*s) + math.Atanh(e*s)/e)
}
