package config

import (
	"errors"
	"fmt"
	"net"
	"strconv"
)

// HTTP says where metrics, health and the status page are served.
type HTTP struct {
	Listen string // host:port; port 0 takes any free one
}

// DefaultHTTP listens on this machine only: the page shows what an outsider
// need not know, and has no password.
func DefaultHTTP() HTTP { return HTTP{Listen: "127.0.0.1:9464"} }

func (h *HTTP) settings() []setting {
	return []setting{{name: "listen", value: stringValue(&h.Listen),
		usage: "host:port for metrics, health and the status page; port 0 takes any free one"}}
}

// Validate refuses what is no host:port.
func (h *HTTP) Validate() error {
	if _, err := portOf(h.Listen); err != nil {
		return fmt.Errorf("%s: %q: %w; want host:port, such as 0.0.0.0:9464", label("listen"), h.Listen, err)
	}
	return nil
}

// portOf returns the port of an address.
func portOf(address string) (port uint64, err error) {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return 0, errors.New("not a host and a port")
	}
	if port, err = strconv.ParseUint(text, 10, 16); err != nil {
		return 0, fmt.Errorf("port %q is not a number up to 65535", text)
	}
	return port, nil
}
