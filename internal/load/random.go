package load

import "math"

// source is a small generator of random numbers (splitmix64).
type source struct{ state, seed uint64 }

func newSource(seed uint64) *source { return &source{seed: seed} }

func (s *source) next() uint64 {
	s.seed += 0x9E3779B97F4A7C15
	z := s.seed
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	s.state = z ^ z>>31
	return s.state
}

func (s *source) float() float64 { return float64(s.next()>>11) / (1 << 53) }

// below is a number below n.
func (s *source) below(n uint64) uint64 { return uint64(s.float() * float64(n)) }

// zipf gives ranks of which the first ones come much more often, with the constant of YCSB (Gray and others,
// "Quickly generating billion-record synthetic databases").
type zipf struct{ n, zetan, eta float64 }

const theta = 0.99

func newZipf(n uint64) zipf {
	z := zipf{n: float64(n)}
	for i := 1.0; i <= z.n; i++ {
		z.zetan += 1 / math.Pow(i, theta)
	}
	zeta2 := 1 + math.Pow(0.5, theta)
	z.eta = (1 - math.Pow(2/z.n, 1-theta)) / (1 - zeta2/z.zetan)
	return z
}

func (z zipf) rank(s *source) uint64 {
	u := s.float()
	switch uz := u * z.zetan; {
	case uz < 1:
		return 0
	case uz < 1+math.Pow(0.5, theta):
		return 1
	}
	return min(uint64(z.n*math.Pow(z.eta*u-z.eta+1, 1/(1-theta))), uint64(z.n)-1)
}

// scattered spreads ranks over n numbers, so that what comes often does not stand together.
func scattered(rank, n uint64) uint64 {
	h := uint64(14695981039346656037)
	for range 8 {
		h = (h ^ rank&0xFF) * 1099511628211
		rank >>= 8
	}
	return h % n
}
