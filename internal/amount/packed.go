package amount

// Packed is an amount in half the room, for what there is much of.
type Packed struct {
	lo   uint64
	hi   uint32
	form form
}

// Pack packs an amount; it is not ok where the coefficient has more than 96 bits.
func (p *Packed) Pack(a *Amount) (ok bool) {
	p.lo, p.hi, p.form = a.lo, uint32(a.hi), a.form
	return a.hi>>32 == 0 && a.big == nil
}

// Amount is what was packed.
func (p *Packed) Amount() Amount { return Amount{hi: uint64(p.hi), lo: p.lo, form: p.form} }
