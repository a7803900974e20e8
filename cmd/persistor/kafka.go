package main

import "github.com/thaliumx/persistor/internal/fetch"

// fetchClient returns what reads the named topics, and what closes its connections.
func fetchClient(c *call, names []string) (client *fetch.Client, hangUp func(), err error) {
	transport, err := c.config.Kafka.Transport(names)
	if err != nil {
		return nil, nil, err
	}
	client = fetch.NewClient(transport, c.config.Kafka.Addr())
	client.MaxAnswerBytes = 256 << 20 // what the daemon took in with a larger PERSISTOR_BATCH_BYTES has to be read again
	return client, transport.CloseIdleConnections, nil
}
