// Package exchange is a simulated exchange: a deterministic, seeded stand-in
// for the Dingir matching engine. It keeps its own books and balances, and
// puts out the records that the engine would: the same fields in the same
// order, the same decimal scales, the same order of emission.
//
// It exists to judge the reader of those records. The exchange knows its true
// state, which messages it forgot in a crash and which ones never arrived, so a
// reconstruction can be compared with the truth instead of with itself.
//
// Section numbers in the comments ("wire 3") are those of the description of
// the engine's wire format.
package exchange
