package live

import "github.com/thaliumx/persistor/internal/state"

// View is what people want to know of the state, as committed last.
type View struct {
	Known       bool // there is a state
	Base, Next  int64
	Complete    bool
	Provisional bool
	Users       int
	OpenOrders  int
	LastOrderID int64
	LastTradeID int64
	Failed      []int64 // cross-checks that failed, by state.CheckNames
	Mismatches  int64
}

// View returns the state as committed last. It may be called by anybody.
func (k *Keeper) View() View {
	k.mu.Lock()
	defer k.mu.Unlock()
	v := k.view
	v.Failed = append([]int64(nil), v.Failed...)
	return v
}

// show notes what others see.
func (k *Keeper) show() {
	s := k.state
	k.mu.Lock()
	defer k.mu.Unlock()
	v := &k.view
	v.Known, v.Base, v.Next, v.Complete, v.Provisional = true, s.Base(), s.Next(), s.Complete(), s.Provisional()
	v.Users, v.OpenOrders = s.UserCount(), s.OrderCount()
	v.LastOrderID, v.LastTradeID = s.LastOrderID(), s.LastTradeID()
	v.Failed = append(v.Failed[:0], k.failed...)
	v.Mismatches = s.Mismatches()
}

// CheckNames are the names of the checks in View.Failed.
func CheckNames() []string { return state.CheckNames() }
