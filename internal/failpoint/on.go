//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// FAILPOINT=name:action[:n] takes the action (kill, stop) at the n-th hit of
// the window (the first, without n). FAILPOINT_PROOF names a file that is
// written just before, so that a test knows the window was really hit.
var (
	name, action string
	nth          int64 = 1
	hits         atomic.Int64
)

func init() {
	parts := strings.Split(os.Getenv("FAILPOINT"), ":")
	if len(parts) < 2 {
		return
	}
	name, action = parts[0], parts[1]
	if len(parts) > 2 {
		n, err := strconv.ParseInt(parts[2], 10, 64)
		if err != nil {
			panic("FAILPOINT: " + err.Error())
		}
		nth = n
	}
}

// Hit takes the action that FAILPOINT asks for, if this is its window.
func Hit(window string) {
	if window != name || hits.Add(1) != nth {
		return
	}
	if proof := os.Getenv("FAILPOINT_PROOF"); proof != "" {
		if err := os.WriteFile(proof, []byte(fmt.Sprintf("%s %d\n", window, os.Getpid())), 0o600); err != nil {
			panic(err)
		}
	}
	if action == "stop" {
		stop()
		return
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		panic(err)
	}
	select {}
}

// stop freezes the process until somebody continues it. The signal takes effect
// when a thread next looks at it: without waiting, this one might leave the
// window first.
func stop() {
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	defer signal.Stop(continued)
	if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
		panic(err)
	}
	<-continued
}
