package sendertest

import (
	"iter"
	"slices"
)

// series is values by growing keys.
type series[T any] struct {
	m    map[int64]T
	keys []int64 // growing; some are gone from m
}

func newSeries[T any]() series[T] { return series[T]{m: map[int64]T{}} }

func (s *series[T]) add(key int64, v T) {
	s.m[key] = v
	s.keys = append(s.keys, key)
}

func (s *series[T]) remove(key int64) {
	delete(s.m, key)
	if len(s.keys) > 2*len(s.m)+64 {
		kept := make([]int64, 0, len(s.m)) // after may be going over the old ones
		for _, k := range s.keys {
			if _, ok := s.m[k]; ok {
				kept = append(kept, k)
			}
		}
		s.keys = kept
	}
}

// after yields what follows a key. What is yielded may be removed.
func (s *series[T]) after(key int64) iter.Seq2[int64, T] {
	return func(yield func(int64, T) bool) {
		at, found := slices.BinarySearch(s.keys, key)
		if found {
			at++
		}
		for _, k := range s.keys[at:] {
			if v, ok := s.m[k]; ok && !yield(k, v) {
				return
			}
		}
	}
}
