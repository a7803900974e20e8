package verify

import (
	"testing"

	"github.com/thaliumx/persistor/internal/store"
)

// A row of the archive is told to be of one of store.Shapes by its number.
func TestTablesAreNumberedAsShapes(t *testing.T) {
	shapes := store.Shapes()
	if len(shapes) != int(tableCount) {
		t.Fatalf("%d tables, and %d shapes", tableCount, len(shapes))
	}
	for id, s := range shapes {
		if hot[id].name != s.Name {
			t.Errorf("table %d is %s, the shape %s", id, hot[id].name, s.Name)
		}
	}
}
