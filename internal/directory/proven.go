package directory

import (
	"crypto/sha256"
	"sync"
)

// maxProven bounds each of the two generations of proven tokens: about a megabyte together.
const maxProven = 1024

// proven remembers tokens whose form and signature were proven, by their SHA-256, and what they claim.
// It decides nothing: that bytes are signed with one key stays true for good, while time, audience and
// principal are looked at anew for every use of a token. It belongs to one signer, so that the tokens
// of another key are not in it. The tokens themselves are not kept.
//
// A token that was not proven never gets in, so nobody without a credential can fill it. When a
// generation is full it becomes the old one, and what was the old one is forgotten.
type proven struct {
	mu         sync.Mutex
	young, old map[[sha256.Size]byte]*accessClaims
}

// get returns the claims of a token, which must not be changed, or nil.
func (p *proven) get(sum [sha256.Size]byte) *accessClaims {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.young[sum]; c != nil {
		return c
	}
	c := p.old[sum]
	if c != nil {
		p.add(sum, c)
	}
	return c
}

// put remembers a token.
func (p *proven) put(sum [sha256.Size]byte, c *accessClaims) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(sum, c)
}

func (p *proven) add(sum [sha256.Size]byte, c *accessClaims) {
	if len(p.young) >= maxProven || p.young == nil {
		p.old, p.young = p.young, map[[sha256.Size]byte]*accessClaims{}
	}
	p.young[sum] = c
}
