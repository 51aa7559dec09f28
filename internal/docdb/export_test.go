package docdb

// BoundIndex makes the bounds of the index small until the returned function is called.
func BoundIndex(few, collected, weak, shapes int) (restore func()) {
	old := boundsOfIndex.Swap(&indexBounds{few: few, collected: collected, weak: weak, shapes: shapes})
	return func() { boundsOfIndex.Store(old) }
}

// WithoutIndex makes queries look at every document until the returned function is called.
func WithoutIndex() (restore func()) {
	old := boundsOfIndex.Load()
	off := *old
	off.off = true
	boundsOfIndex.Store(&off)
	return func() { boundsOfIndex.Store(old) }
}
