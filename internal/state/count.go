package state

// UserCount is how many users are registered.
func (s *State) UserCount() int { return len(s.users) }

// OrderCount is how many orders are open.
func (s *State) OrderCount() int { return s.orders.n }
