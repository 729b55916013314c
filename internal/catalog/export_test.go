package catalog

// With returns a cataloger with other options that shares the licence scanner,
// which takes a second to build. Layers may unpack to free bytes whatever their
// ratio; 0 leaves that as it is.
func (c *Cataloger) With(o Options, free int64) *Cataloger {
	o.free = free
	return &Cataloger{options: o.withDefaults(), licenses: c.licenses}
}
