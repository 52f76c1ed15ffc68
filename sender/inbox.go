package sender

import "sync"

// inbox hands values to an owner that must never hold up those who put them.
type inbox[T any] struct {
	wake chan struct{} // holds a token while there may be something to take

	mu  sync.Mutex
	buf []T // guarded by mu
}

func newInbox[T any]() *inbox[T] { return &inbox[T]{wake: make(chan struct{}, 1)} }

// put adds values, which are taken together, and wakes the owner. It never blocks.
func (b *inbox[T]) put(values ...T) {
	b.mu.Lock()
	b.buf = append(b.buf, values...)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take returns all that was put, in order. The slice of the take before is
// given back for reuse; the owner must be done with it.
func (b *inbox[T]) take(used []T) []T {
	clear(used) // drop what it points to
	if cap(used) > inboxKeep {
		used = nil
	}
	b.mu.Lock()
	got := b.buf
	b.buf = used[:0]
	b.mu.Unlock()
	return got
}

// inboxKeep bounds the memory that an empty inbox holds after a flood.
const inboxKeep = 1024

func (b *inbox[T]) empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.buf) == 0
}
