package main

import "github.com/thaliumx/persistor/internal/fetch"

// fetchClient returns what reads the named topics, and what closes its connections.
func fetchClient(c *call, names []string) (client *fetch.Client, hangUp func(), err error) {
	transport, err := c.config.Kafka.Transport(names)
	if err != nil {
		return nil, nil, err
	}
	return fetch.NewClient(transport, c.config.Kafka.Addr()), transport.CloseIdleConnections, nil
}
