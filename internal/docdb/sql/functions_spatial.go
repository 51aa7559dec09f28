package sql

import (
	"errors"

	"github.com/latchkey-db/latchkey/internal/docdb/geo"
)

// spatialFunctions are those of geometries. What is no valid geometry is undefined.
var spatialFunctions = map[string]function{
	"ST_DISTANCE":   ofGeometries(2, func(g []*geo.Geometry) value { return number(g[0].Distance(g[1])) }),
	"ST_WITHIN":     ofGeometries(2, func(g []*geo.Geometry) value { return boolean(g[0].Within(g[1])) }),
	"ST_INTERSECTS": ofGeometries(2, func(g []*geo.Geometry) value { return boolean(g[0].Intersects(g[1])) }),
	"ST_AREA":       ofGeometries(1, func(g []*geo.Geometry) value { return number(g[0].Area()) }),
	"ST_ISVALID": {least: 1, most: 1, f: func(a []value) value {
		_, err := geometry(a[0])
		return boolean(err == nil)
	}},
	"ST_ISVALIDDETAILED": {least: 1, most: 1, f: func(a []value) value {
		_, err := geometry(a[0])
		var why *geo.InvalidError
		if !errors.As(err, &why) {
			return object([]string{"valid"}, []value{boolean(true)})
		}
		return object([]string{"valid", "reason"}, []value{boolean(false), text(why.Reason)})
	}},
}

// geometry reads a GeoJSON value.
func geometry(v value) (*geo.Geometry, error) { return geo.Parse(appendJSON(nil, v)) }

// ofGeometries is a function of n geometries. Those that come again, such as constants, are read once in a
// run. The work is counted by the pairs of edges that it may look at.
func ofGeometries(n int, f func(g []*geo.Geometry) value) function {
	return function{least: n, most: n, inRun: func(r *run, a []value) (value, error) {
		list := make([]*geo.Geometry, n)
		work := 1
		for i, v := range a {
			if v.typ != objectType {
				return undefined, nil
			}
			raw := string(appendJSON(nil, v))
			list[i] = cached(r, "geometry\x00"+raw, func() *geo.Geometry {
				g, err := geo.Parse([]byte(raw))
				if err != nil {
					return nil
				}
				return g
			})
			if list[i] == nil {
				return undefined, nil
			}
			work *= list[i].Edges()
		}
		if err := r.spend(8 * work); err != nil {
			return undefined, err
		}
		return f(list), nil
	}}
}
