package state

import (
	"encoding/binary"
	"errors"

	"github.com/thaliumx/persistor/internal/amount"
)

// codec writes values, or reads them back: one description of the format serves
// both directions. After the first error everything read is zero.
type codec struct {
	reading bool
	buffer  []byte // written so far, or not yet read
	err     error
}

var errDamaged = errors.New("its contents do not fit together")

func (c *codec) fail() {
	if c.err == nil {
		c.err = errDamaged
	}
	c.buffer = nil
}

func (c *codec) uint64(v *uint64) {
	if !c.reading {
		c.buffer = binary.AppendUvarint(c.buffer, *v)
		return
	}
	u, n := binary.Uvarint(c.buffer)
	if n <= 0 {
		*v = 0
		c.fail()
		return
	}
	*v, c.buffer = u, c.buffer[n:]
}

func (c *codec) int64(v *int64) {
	u := uint64(*v<<1) ^ uint64(*v>>63)
	c.uint64(&u)
	*v = int64(u>>1) ^ -int64(u&1)
}

// index is a number from 0 to below n.
func (c *codec) index(v *int32, n int) {
	u := uint64(uint32(*v))
	c.uint64(&u)
	if *v = int32(u); u >= uint64(n) {
		*v = 0
		c.fail()
	}
}

// small is a number of which the largest is given.
func small[T ~uint8](c *codec, v *T, most T) {
	u := uint64(*v)
	c.uint64(&u)
	if *v = T(u); u > uint64(most) {
		*v = 0
		c.fail()
	}
}

func signed[T ~int64](c *codec, v *T) {
	n := int64(*v)
	c.int64(&n)
	*v = T(n)
}

func (c *codec) bool(v *bool) {
	u := uint8(0)
	if *v {
		u = 1
	}
	small(c, &u, 1)
	*v = u == 1
}

func (c *codec) amounts(values ...*amount.Amount) {
	for _, v := range values {
		if !c.reading {
			c.buffer = v.Append(c.buffer)
			continue
		}
		var err error
		if *v, c.buffer, err = amount.Decode(c.buffer); err != nil {
			*v = amount.Amount{}
			c.fail()
		}
	}
}

// count is how many elements follow, each of which takes a byte or more.
func (c *codec) count(n int) int {
	u := uint64(n)
	c.uint64(&u)
	if c.reading && u > uint64(len(c.buffer)) {
		c.fail()
		return 0
	}
	return int(u)
}

func (c *codec) text(v *string) {
	n := c.count(len(*v))
	if !c.reading {
		c.buffer = append(c.buffer, *v...)
		return
	}
	*v, c.buffer = string(c.buffer[:n]), c.buffer[n:]
}

func (c *codec) bytes(v []byte) {
	if !c.reading {
		c.buffer = append(c.buffer, v...)
		return
	}
	if len(c.buffer) < len(v) {
		c.fail()
		return
	}
	copy(v, c.buffer)
	c.buffer = c.buffer[len(v):]
}

// list is a slice with its length.
func list[T any](c *codec, v *[]T, each func(*T)) {
	n := c.count(len(*v))
	if c.reading {
		*v = nil
		for range n {
			if c.err != nil {
				return
			}
			var element T
			each(&element)
			*v = append(*v, element)
		}
		return
	}
	for i := range *v {
		each(&(*v)[i])
	}
}
