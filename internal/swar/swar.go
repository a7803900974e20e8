// Package swar has the arithmetic on eight decimal digits at a time ("SIMD within a
// register") that reading amounts, times and ids and encoding numerics share. A word
// holds them less '0', the first one in its lowest byte.
package swar

import "math/bits"

// The same byte in all eight places of a word: a bit, its top bit, and '0'.
const (
	Ones    = 0x0101010101010101
	Tops    = 0x80 * Ones
	Noughts = '0' * Ones
)

// Eight is the number of eight digits: each step joins neighbours to pairs.
func Eight(x uint64) uint64 {
	x = x*10 + x>>8 // each other byte is two digits now
	const pairs = 0x000000ff_000000ff
	return (x&pairs*(100+1_000_000<<32) + x>>16&pairs*(1+10_000<<32)) >> 32
}

// Without is the word without one of its bytes: those before it move up.
func Without(x uint64, at int) uint64 {
	before := uint64(1)<<(8*at&63) - 1
	return x&^(before<<8|0xff) | x&before<<8
}

// Point is in which byte the first point stands, 8 if there is none.
func Point(x uint64) int {
	x ^= ('.' ^ '0') * Ones
	return bits.TrailingZeros64((x-Ones)&^x&Tops) / 8
}
