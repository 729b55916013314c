package catalog

import "reflect"

// weigh says about how many bytes a lesson takes.
func (l *lesson) weigh() int64 {
	s := scale{seen: map[uintptr]bool{}}
	for i := range l.questions {
		s.total += 64 + int64(len(l.questions[i].of))
	}
	s.weigh(reflect.ValueOf(l.packages))
	// Edges hold packages that are copies, and what these have in common with them.
	for i := range l.edges {
		s.weigh(reflect.ValueOf(l.edges[i]))
	}
	return s.total
}

// scale adds up what values take beside themselves.
type scale struct {
	total int64
	seen  map[uintptr]bool
}

func (s *scale) weigh(v reflect.Value) {
	const (
		mapSlot   = 16
		interfaze = 16
	)
	switch v.Kind() {
	case reflect.String:
		s.total += int64(v.Len())
	case reflect.Slice:
		if v.Len() == 0 || s.known(v.Pointer()) {
			return
		}
		s.total += int64(v.Cap()) * int64(v.Type().Elem().Size())
		if isFlat(v.Type().Elem()) {
			return
		}
		for i := range v.Len() {
			s.weigh(v.Index(i))
		}
	case reflect.Map:
		if v.Len() == 0 || s.known(v.Pointer()) {
			return
		}
		for it := v.MapRange(); it.Next(); {
			s.total += mapSlot + int64(v.Type().Key().Size()) + int64(v.Type().Elem().Size())
			s.weigh(it.Key())
			s.weigh(it.Value())
		}
	case reflect.Pointer:
		if v.IsNil() || s.known(v.Pointer()) {
			return
		}
		s.total += int64(v.Type().Elem().Size())
		s.weigh(v.Elem())
	case reflect.Interface:
		if v.IsNil() {
			return
		}
		s.total += interfaze + int64(v.Elem().Type().Size())
		s.weigh(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			s.weigh(v.Field(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			s.weigh(v.Index(i))
		}
	}
}

func (s *scale) known(p uintptr) bool {
	if s.seen[p] {
		return true
	}
	s.seen[p] = true
	return false
}

// isFlat reports whether values of a type take nothing beside themselves.
func isFlat(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Slice, reflect.Map, reflect.Pointer, reflect.Interface, reflect.Struct, reflect.Array:
		return false
	}
	return true
}
