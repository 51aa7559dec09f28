package sql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func docs(texts ...string) documents {
	var d documents
	for _, s := range texts {
		d = append(d, json.RawMessage(s))
	}
	return d
}

var people = docs(
	`{"id":"1","name":"Ada", "age":36,"tags":["a","b"],"n":9007199254740993,"x":1.50}`,
	`{"id":"2","name":"Grace","age":85,"tags":[],"addr":{"city":"NY","zip":[1, 2.0]}}`,
	`{"id":"3","name":"al\u0061n","age":41,"tags":["b","c"],"n":null}`,
)

func TestQueries(t *testing.T) {
	params := Params{"@id": json.RawMessage(`"3"`), "@two": json.RawMessage(`2`), "@key": json.RawMessage(`"age"`), "@none": nil}
	for _, tc := range []struct{ query, want string }{
		// whole documents pass through untouched, white space and numbers included
		{`SELECT * FROM c WHERE c.id = "1"`, string(people[0])},
		{`SELECT VALUE c FROM c WHERE c.x = 1.5`, string(people[0])},
		{`SELECT c FROM c WHERE c.id = "2"`, `{"c":` + string(people[1]) + `}`},
		{`SELECT VALUE [c] FROM c WHERE c.id = "3"`, `[` + string(people[2]) + `]`},
		{`SELECT * FROM c ORDER BY c.age DESC OFFSET 2 LIMIT 1`, string(people[0])},
		{`SELECT DISTINCT * FROM c WHERE c.id = "1"`, string(people[0])},
		// parts of documents are written anew
		{`SELECT c.n, c.x FROM c WHERE c.n > 1`, `{"n":9007199254740993,"x":1.5}`},
		{`SELECT VALUE c.addr FROM c`, `{"city":"NY","zip":[1,2]}`},
		{`SELECT VALUE c.name FROM c`, `"Ada" "Grace" "alan"`},
		// conditions
		{`SELECT VALUE c.id FROM c WHERE c.age > 40 AND c.age < 80`, `"3"`},
		{`SELECT VALUE root.id FROM root WHERE root.name IN ("Ada", "Grace")`, `"1" "2"`},
		{`SELECT VALUE c.id FROM c WHERE c.age IN (1,2,3,4,5,6,7,8,9,41.0)`, `"3"`},
		{`SELECT VALUE c.id FROM c WHERE c.age NOT IN (36, @none)`, `"2" "3"`},
		{`SELECT VALUE c.id FROM c WHERE c.addr.city = "NY"`, `"2"`},
		{`SELECT VALUE c.id FROM c WHERE c["name"] LIKE "%a%"`, `"1" "2" "3"`},
		{`SELECT VALUE c.id FROM c WHERE c.name LIKE "A_a"`, `"1"`},
		{`SELECT VALUE c.id FROM c WHERE c.age BETWEEN 36 AND 41`, `"1" "3"`},
		{`SELECT VALUE c.id FROM c WHERE NOT IS_DEFINED(c.addr)`, `"1" "3"`},
		{`SELECT VALUE c.id FROM c WHERE c.n = null`, `"3"`},
		{`SELECT VALUE c.id FROM c WHERE c.n != null`, `"1"`},
		{`SELECT VALUE c.id FROM c WHERE 1`, ``},
		{`SELECT VALUE c.id FROM c WHERE c.id = @id -- a comment`, `"3"`},
		{`SELECT VALUE c[@key] FROM c WHERE c.id = @id`, `41`},
		{`SELECT VALUE c.id FROM c WHERE c.id != @missing`, ``},
		// sources
		{`SELECT c.id, t AS tag FROM c JOIN t IN c.tags`, `{"id":"1","tag":"a"} {"id":"1","tag":"b"} {"id":"3","tag":"b"} {"id":"3","tag":"c"}`},
		{`SELECT VALUE t FROM t IN c.tags`, `"a" "b" "b" "c"`},
		{`SELECT VALUE city FROM food.addr.city`, `"NY"`},
		{`SELECT * FROM c.addr`, `{"city":"NY","zip":[1,2]}`},
		{`SELECT c FROM c.addr AS c`, `{"c":{"city":"NY","zip":[1,2]}}`},
		{`SELECT VALUE kv.k FROM c JOIN kv IN OBJECTTOARRAY(c.addr)`, `"city" "zip"`},
		{`SELECT VALUE [a, b] FROM c JOIN a IN c.tags JOIN b IN c.tags WHERE c.id = "1" AND a < b`, `["a","b"]`},
		{`SELECT VALUE m.v FROM c JOIN m IN (SELECT VALUE [{"v": c.age}, {"v": 0}]) WHERE c.id = "1"`, `36 0`},
		{`SELECT VALUE [c.id, n] FROM c JOIN (SELECT VALUE COUNT(1) FROM t IN c.tags) n`, `["1",2] ["2",0] ["3",2]`},
		{`SELECT VALUE c.id FROM c JOIN (SELECT VALUE t FROM t IN c.tags WHERE t = "c")`, `"3"`},
		// a subquery of FROM runs over the container, one of an expression over its item
		{`SELECT VALUE COUNT(1) FROM (SELECT DISTINCT VALUE t FROM t IN c.tags)`, `3`},
		{`SELECT VALUE n FROM (SELECT VALUE COUNT(1) FROM c) n`, `3`},
		{`SELECT VALUE x.age FROM (SELECT c.age FROM c WHERE c.age > 40) x WHERE x.age < 50`, `41`},
		{`SELECT VALUE (SELECT VALUE COUNT(1) FROM t IN c.tags) FROM c`, `2 0 2`},
		{`SELECT VALUE ARRAY(SELECT VALUE t FROM t IN c.tags) FROM c WHERE c.id="1"`, `["a","b"]`},
		{`SELECT VALUE (SELECT c.name).name FROM c`, `"Ada" "Grace" "alan"`},
		{`SELECT VALUE c.id FROM c WHERE EXISTS(SELECT VALUE t FROM t IN c.tags WHERE t = "c")`, `"3"`},
		{`SELECT VALUE [EXISTS(SELECT VALUE undefined), EXISTS(SELECT undefined)]`, `[false,true]`},
		{`SELECT VALUE c.id FROM c WHERE ALL(SELECT VALUE t FROM t IN c.tags WHERE t < "c")`, `"1" "2"`},
		{`SELECT VALUE ALL(SELECT VALUE 1)`, `true`},
		{`SELECT [FIRST(SELECT VALUE t FROM t IN c.tags)][0] AS f, LAST(SELECT VALUE t FROM t IN c.tags) AS l FROM c`, `{"f":"a","l":"b"} {} {"f":"b","l":"c"}`},
		// names of results
		{`SELECT 1 + 2, "a" || "b" AS s, 7 % 4, c.tags[0], c["name"] FROM c WHERE c.id = "1"`, `{"$1":3,"s":"ab","$2":3,"$3":"a","name":"Ada"}`},
		{`SELECT c.missing FROM c WHERE c.id = "1"`, `{}`},
		{`SELECT VALUE c.missing FROM c`, ``},
		{`SELECT VALUE {a: 1, "b": [c.id, "x"], u: undefined} FROM c WHERE c.id = '1'`, `{"a":1,"b":["1","x"]}`},
		// an undefined element is null where an array is written, and nothing elsewhere
		{`SELECT VALUE [c.missing, {a: [c.missing]}] FROM c WHERE c.id = "1"`, `[null,{"a":[null]}]`},
		{`SELECT VALUE ARRAY_LENGTH([c.missing, 1]) FROM c WHERE c.id = "1"`, `1`},
		// order, windows
		{`SELECT VALUE c.id FROM c ORDER BY c.age DESC`, `"2" "3" "1"`},
		{`SELECT VALUE c.id FROM c ORDER BY c.n`, `"2" "3" "1"`},
		{`SELECT VALUE c.id FROM c ORDER BY c.zzz`, `"1" "2" "3"`},
		{`SELECT VALUE c.id FROM c ORDER BY c.zzz DESC`, `"3" "2" "1"`},
		{`SELECT TOP 2 VALUE c.id FROM c ORDER BY c.zzz DESC`, `"3" "2"`},
		{`SELECT VALUE c.id FROM c ORDER BY c.name OFFSET 1 LIMIT 1`, `"2"`},
		{`SELECT VALUE t FROM c JOIN t IN c.tags ORDER BY t DESC, c.id OFFSET 0 LIMIT @two`, `"c" "b"`},
		{`SELECT TOP @two VALUE c.id FROM c`, `"1" "2"`},
		{`SELECT TOP 0 * FROM c`, ``},
		{`SELECT VALUE c.id FROM c OFFSET 9 LIMIT 9`, ``},
		{`SELECT DISTINCT VALUE t FROM t IN c.tags`, `"a" "b" "c"`},
		{`SELECT DISTINCT TOP 2 VALUE t FROM c JOIN t IN c.tags ORDER BY t DESC`, `"c" "b"`},
		{`SELECT DISTINCT c.zzz FROM c`, `{}`},
		// aggregates and groups
		{`SELECT VALUE COUNT(1) FROM c`, `3`},
		{`SELECT VALUE COUNT(c.n) FROM c`, `2`},
		{`SELECT VALUE COUNT(1) FROM c WHERE false`, `0`},
		{`SELECT VALUE AVG(c.missing) FROM c`, ``},
		{`SELECT AVG(c.missing), SUM(c.age) AS s FROM c`, `{"s":162}`},
		{`SELECT VALUE SUM(c.n) FROM c`, ``},
		{`SELECT VALUE SUM(c.missing) FROM c`, `0`},
		{`SELECT MIN(c.age), MAX(c.age) FROM c`, `{"$1":36,"$2":85}`},
		{`SELECT MIN(c.n) AS a, MAX(c.n) AS b FROM c`, `{"a":null,"b":9007199254740993}`},
		{`SELECT VALUE MAX(c.tags) FROM c`, ``},
		{`SELECT VALUE MAKELIST(c.age) FROM c`, `[36,85,41]`},
		{`SELECT VALUE MAKESET(t) FROM t IN c.tags`, `["a","b","c"]`},
		{`SELECT VALUE {n: COUNT(1), half: SUM(c.age) / 2} FROM c`, `{"n":3,"half":81}`},
		{`SELECT t, COUNT(1) AS n FROM t IN c.tags GROUP BY t`, `{"t":"a","n":1} {"t":"b","n":2} {"t":"c","n":1}`},
		{`SELECT UPPER(t) AS u FROM t IN c.tags GROUP BY upper(t)`, `{"u":"A"} {"u":"B"} {"u":"C"}`},
		{`SELECT c["n"] FROM c GROUP BY c.n`, `{"n":9007199254740993} {} {"n":null}`},
		{`SELECT VALUE c.n FROM c GROUP BY c.n`, `9007199254740993 null`},
		{`SELECT TOP 1 t FROM t IN c.tags GROUP BY t`, `{"t":"a"}`},
		{`SELECT c.id, x.n FROM c JOIN (SELECT t, COUNT(1) AS n FROM t IN c.tags GROUP BY t) x WHERE x.t = "b"`, `{"id":"1","n":1} {"id":"3","n":1}`},
		{`SELECT COUNT(1) AS n, (SELECT VALUE 7) AS seven FROM c GROUP BY c.zzz`, `{"n":3,"seven":7}`},
		// operators that decide early, and numbers
		{`SELECT VALUE c.missing ?? c.name FROM c WHERE c.id = "1"`, `"Ada"`},
		{`SELECT VALUE c.age > 80 ? "old" : c.age > 40 ? "not so" : "young" FROM c`, `"young" "old" "not so"`},
		{`SELECT VALUE 9007199254740993 + 1`, `9007199254740994`},
		{`SELECT VALUE 9223372036854775807 + 1`, `9.2233720368547758e+18`},
		{`SELECT VALUE -9223372036854775808`, `-9223372036854775808`},
		{`SELECT VALUE 18446744073709551615`, `1.8446744073709552e+19`},
		{`SELECT VALUE [1/3, 0.1 + 0.2, 0.1, 1e2, 0x1F, 4.94065645841247e-324, -0.0, 1.0]`, `[0.33333333333333331,0.30000000000000004,0.1,100,31,4.94065645841247e-324,0,1]`},
		{`SELECT VALUE "\u00e9\ud83d\ude00\"\\\/"`, `"é😀\"\\/"`},
	} {
		got, err := runAll(t, tc.query, people, params, Options{})
		if err != nil || strings.Join(got, " ") != tc.want {
			t.Errorf("%s\n got %s\nwant %s\n err %v", tc.query, strings.Join(got, " "), tc.want, err)
		}
	}
}

// TestExpressions holds three-valued logic, comparisons across types and the precedence of operators.
// Undefined is "".
func TestExpressions(t *testing.T) {
	truth := map[string]string{"true": "true", "false": "false", "undefined": "", "0": ""}
	for a, x := range truth {
		for b, y := range truth {
			and, or := "", ""
			switch {
			case x == "false" || y == "false":
				and = "false"
			case x == "true" && y == "true":
				and = "true"
			}
			switch {
			case x == "true" || y == "true":
				or = "true"
			case x == "false" && y == "false":
				or = "false"
			}
			evaluate(t, a+" AND "+b, and)
			evaluate(t, a+" OR "+b, or)
		}
	}
	for expression, want := range map[string]string{
		"NOT true": "false", "NOT false": "true", "NOT undefined": "", "NOT null": "", "NOT 1": "",
		`1 = "1"`: "false", `1 != "1"`: "true", "null = null": "true", "null != 0": "true", "undefined = undefined": "", "undefined != 1": "",
		"[1,2] = [1,2]": "true", "[1,2] = [2,1]": "false", `{"a":1,"b":2} = {"b":2,"a":1}`: "true", `{"a":1} = {"a":1,"b":2}`: "false",
		`{"a":1,"b":undefined} = {"a":1}`: "true", "[undefined] = []": "true", "{} != []": "true", "1 = 1.0": "true", "9007199254740993 = 9007199254740992": "false",
		"1 < 2": "true", `1 < "2"`: "", "null <= null": "true", "false < true": "true", "[1] < [2]": "", "{} >= {}": "", `"a" < "b"`: "true", `"Z" < "a"`: "true",
		"undefined < 1": "", "NaN = NaN": "false", "NaN < 1": "false", "1 < 2 <= true": "true",
		"1 IN (1, undefined)": "true", "undefined IN (1)": "", "2 NOT IN (1)": "true", "[1] IN ([1])": "true", "null IN (null)": "true",
		"1 BETWEEN 0 AND 2": "true", `1 NOT BETWEEN "a" AND "b"`: "", "false BETWEEN false AND true": "true",
		"5 & 3": "1", "5 | 3": "7", "5 ^ 3": "6", "~0": "-1", "-1 >>> 0": "4294967295", "100 >>> 0": "100", "1 << 4": "16", "-8 >> 1": "-4", "4294967296 | 0": "0",
		"NaN | 1": "1", "null ?? 5": "null", "undefined ?? 5": "5", "1 ? 2 : 3": "3", "undefined ? 2 : 3": "3", "true ? 2 : 3": "2",
		"1 + undefined": "", `1 + "1"`: "", `"a" || "b"`: `"ab"`, `"a" || 1`: "", "5 % 3": "2", "-5 % 3": "-2", "5.5 % 2": "1.5", "-(3)": "-3", `-"3"`: "", "+3": "3",
		"1 + 2 * 3 - 4 / 2": "5", "1 | 2 & 3 ^ 4": "7", "1 = 2 & 3 != 4": "", "2 + 3 << 1": "10", "NOT false = true": "true", "true ? 1 : false ? 2 : 3": "1",
		"[1,2,3][1]": "2", "[1,2,3][-1]": "", "[1,2,3][1.5]": "", "[1,2,3][3]": "", `{"a":{"b":1}}.a.b`: "1", `{"a":1}["a"]`: "1", `"abc"[0]`: "", `"abc".x`: "",
		`{"a":1,"a":2}`:   `{"a":2}`,
		`"abc" LIKE "a%"`: "true", `"abc" LIKE "%b%"`: "true", `"abc" LIKE "b%"`: "false", `"abc" LIKE "a_c"`: "true", `"abc" LIKE "[a-c][^x]c"`: "true",
		`"a%c" LIKE "a!%c" ESCAPE "!"`: "true", `"abc" LIKE "a!%c" ESCAPE "!"`: "false", `"a%" LIKE "a[%]"`: "true", `"ab]" LIKE "ab]"`: "true", `"a[" LIKE "a["`: "true",
		`"abc" NOT LIKE "x%"`: "true", `1 LIKE "1"`: "", `"aaaaaaab" LIKE "%a%a%a%b"`: "true", `"" LIKE "%"`: "true", `"" LIKE ""`: "true", `"a" LIKE ""`: "false",
	} {
		evaluate(t, expression, want)
	}
}

func evaluate(t *testing.T, expression, want string) {
	t.Helper()
	got, err := runAll(t, "SELECT VALUE "+expression, nil, nil, Options{Now: func() time.Time { return time.Date(2026, 3, 31, 1, 2, 3, 4567800, time.UTC) }})
	if err != nil || strings.Join(got, " ") != want {
		t.Errorf("%s is %v, want %q (%v)", expression, got, want, err)
	}
}

// TestFunctions holds what the recorded samples do not: limits, wrong types, undefined.
func TestFunctions(t *testing.T) {
	for expression, want := range map[string]string{
		`CONCAT("a", 1)`: "", `LENGTH("é😀")`: "2", `UPPER(1)`: "", `REVERSE("é😀")`: `"😀é"`,
		`LEFT("abc", -1)`: `""`, `LEFT("abc", 1.5)`: "", `RIGHT("abc", 2)`: `"bc"`, `RIGHT("abc", 9)`: `"abc"`, `SUBSTRING("abc", -1, 2)`: `""`, `SUBSTRING("aé😀", 1, 9)`: `"é😀"`,
		`SUBSTRING("abc", 9, 1)`: `""`, `INDEX_OF("é😀x", "x")`: "2", `INDEX_OF("abab", "ab", 1)`: "2", `INDEX_OF("a", "b")`: "-1", `INDEX_OF("a", "", 9)`: "1",
		`LASTINDEXOF("abcdeabc", "abc", 6)`: "0", `LASTINDEXOF("abcdeabc", "abc", 7)`: "5", `LASTINDEXOF("abc", "x")`: "-1",
		`REPLACE("aaa", "a", "bb")`: `"bbbbbb"`, `REPLACE("a", "", "b")`: "", `REPLICATE("ab", 1.5)`: `"ab"`, `REPLICATE("ab", -1)`: "", `LENGTH(REPLICATE("a", 10000))`: "10000",
		`REPLICATE("a", 10001)`: "", `REPLICATE("ab", NaN)`: "", `CONTAINS("a", "")`: "true", `STARTSWITH("Abc", "a", true)`: "true", `STRINGEQUALS(null, null)`: "",
		`TRIM("-_-A-_-", "-_")`: `"A"`, `TRIM("a", 1)`: "", `STRINGJOIN(["a","b"], "-")`: `"a-b"`, `STRINGJOIN(["a",1], "-")`: "", `STRINGJOIN([], "-")`: `""`,
		`STRINGSPLIT("a,b", ",")`: `["a","b"]`, `STRINGSPLIT("Helmet", "")`: `["Helmet"]`, `STRINGSPLIT("", ",")`: `[""]`,
		`CONTAINS_ALL_CI("ABC", "a", undefined)`: "", `CONTAINS_ALL_CS("ABC", "a", undefined)`: "false", `CONTAINS_ANY_CI("ABC", undefined, "b")`: "true", `CONTAINS_ANY_CS("ABC", undefined, "b")`: "",
		`TOSTRING(2049537175849502700)`: `"2049537175849502700"`, `TOSTRING(1e19)`: `"1e+019"`, `TOSTRING(null)`: `"null"`, `TOSTRING(undefined)`: "", `TOSTRING(-1/0)`: `"-Infinity"`,
		`TOSTRING({"a": [1.0]})`: `"{\"a\":[1]}"`, `STRINGTONUMBER("1x")`: "", `STRINGTONUMBER(" 1.5 ")`: "1.5", `STRINGTONUMBER("NaN")`: "", `STRINGTONULL("NULL")`: "",
		`STRINGTOOBJECT("{'a':1}")`: "", `STRINGTOARRAY("[1, [2.0]]")`: "[1,[2]]", `STRINGTOARRAY("[1,]")`: "", `STRINGTOARRAY("{}")`: "",
		`REGEXMATCH("abcd", "(")`: "", `REGEXMATCH("abcd", "B", "i")`: "true", `REGEXMATCH("a d", "a[ ]d # x", "x")`: "true", `REGEXMATCH("ab", "a", "q")`: "", `REGEXMATCH("a\nb", "^b", "m")`: "true",

		`ABS(-9007199254740993)`: "9007199254740993", `SIGN(-0.5)`: "-1", `ROUND(-2.5)`: "-3", `POWER(null, 3)`: "", `SQRT("4")`: "", `NUMBERBIN(37.752, 10)`: "30", `NUMBERBIN(37.752, 0.1)`: "37.7",
		`NUMBERBIN(37.752)`: "37", `NUMBERBIN(37.752, -100)`: "100", `NUMBERBIN(1, 0)`: "", `RAND() < 1`: "true",
		`INTADD(9223372036854775807, 1)`: "-9223372036854775808", `INTDIV(7, -2)`: "-3", `INTMOD(-12, -5)`: "-2", `INTDIV(1, 0)`: "", `INTDIV(-9223372036854775808, -1)`: "",
		`INTADD(1, 0.5)`: "", `INTBITAND(12, 10)`: "8", `IntBitwiseOr(12, 10)`: "14", `INTBITXOR(12, 10)`: "6", `INTBITNOT(0)`: "-1", `INTBITLEFTSHIFT(1, 40)`: "1099511627776",
		`INTBITRIGHTSHIFT(-8, 1)`: "-4",

		`IS_INTEGER(9223372036854775807)`: "true", `IS_INTEGER(18446744073709551615)`: "false", `IS_DEFINED(undefined)`: "false", `IS_PRIMITIVE(null)`: "true", `IS_PRIMITIVE([])`: "false",
		`IS_DATETIME("2020-01-02")`: "true", `IS_DATETIME("2020-01-02 03:04:05.1Z")`: "true", `IS_DATETIME("2020-01-02T20Z")`: "false", `IS_DATETIME("2020-01-02T03:04:05.")`: "false",
		`IS_DATETIME("2020-02-30")`: "false", `IS_DATETIME(1)`: "false", `IS_DATETIME("2020-01-02X03:04:05")`: "false",
		`IIF(undefined, 1, 2)`: "2", `IIF(true, 1, undefined)`: "1", `CHOOSE(2, undefined, 5)`: "5", `CHOOSE(1.5, 1, 2)`: "", `OBJECTTOARRAY([])`: "",

		`ARRAY_CONTAINS([1, "a"], "a")`: "true", `ARRAY_CONTAINS([{"a":1,"b":2}], {"a":1})`: "false", `ARRAY_CONTAINS([{"a":1,"b":2}], {"a":1}, true)`: "true", `ARRAY_CONTAINS(1, 1)`: "",
		`ARRAY_CONTAINS([{"a":1,"b":2}], {"a":1}, undefined)`: "false", `ARRAY_CONTAINS([1], undefined)`: "", `ARRAY_CONTAINS_ALL([1,2], 1, undefined)`: "", `ARRAY_CONTAINS_ALL([1], 2, undefined)`: "false",
		`ARRAY_CONTAINS_ALL([], 1, 2)`: "false", `ARRAY_CONTAINS_ANY([1], undefined, 1)`: "true", `ARRAY_CONTAINS_ANY([1], undefined, 2)`: "", `ARRAY_CONCAT([1], 2)`: "",
		`ARRAY_SLICE([1,2,3], -2)`: "[2,3]", `ARRAY_SLICE([1,2,3], -9, 2)`: "[1,2]", `ARRAY_SLICE([1,2,3], 1, -1)`: "[]", `ARRAY_SLICE([1,2,3], 1.5)`: "", `ARRAY_SLICE([1,2,3], 9)`: "[]",
		`ARRAY_SLICE([1,2,3], 1, 9223372036854775807)`: "[2,3]",
		`ARRAY_AVG([1,2])`: "1.5", `ARRAY_SUM([1,"a"])`: "", `ARRAY_SUM([1,undefined])`: "1", `ARRAY_MEDIAN([3,1,2])`: "2", `ARRAY_MEDIAN([4,1,2,3])`: "2.5", `ARRAY_MEDIAN([])`: "", `ARRAY_AVG([])`: "",
		`ARRAY_MIN([12,"abc",true,false,null])`: "null", `ARRAY_MAX([12,"abc",true,false,null])`: `"abc"`, `ARRAY_MAX([1,[2]])`: "",
		`SETUNION([1,1,"a"], ["a",2])`: `[1,"a",2]`, `SETINTERSECT([1,2,"A","B"], ["A",1])`: `["A",1]`, `SETDIFFERENCE([1,2,2,3], [3])`: "[1,2]", `SETEQUAL([1,2,2], [2,1])`: "true",
		`SETEQUAL([1], [1,2])`: "false", `SETUNION([{"a":1,"b":2}], [{"b":2,"a":1.0}])`: `[{"a":1,"b":2}]`,

		`DATETIMEADD("mm", 1, "2020-01-31")`: `"2020-02-29T00:00:00.0000000Z"`, `DATETIMEADD("xx", 1, "2020-01-31")`: "", `DATETIMEADD("dd", 1.5, "2020-01-31")`: "",
		`DATETIMEADD("yyyy", 8000, "2020-01-31")`: "", `DATETIMEADD("ns", -100, "2020-01-01")`: `"2019-12-31T23:59:59.9999999Z"`, `DATETIMEADD("dd", 9223372036854775807, "2020-01-01")`: "",
		`DATETIMEDIFF("ms", "2020-01-01T00:00:00.0019Z", "2020-01-01T00:00:00.002Z")`: "1", `DATETIMEDIFF("yyyy", "2019-12-31", "2020-01-01")`: "1", `DATETIMEDIFF("ns", "2020-01-01", "2020-01-01T00:00:00.0000001Z")`: "100",
		`DATETIMEBIN("2021-02-15", "mm")`: `"2021-02-01T00:00:00.0000000Z"`, `DATETIMEBIN("2021-02-15", "yy", 2)`: `"2020-01-01T00:00:00.0000000Z"`, `DATETIMEBIN("2021-02-15", "dd", 0)`: "",
		`DATETIMEBIN("2021-02-15", "dd", 1, "1600-01-01")`: "", `DATETIMEPART("mcs", "2020-01-01T00:00:01.1234567Z")`: "123456", `DATETIMETOTIMESTAMP("1969-12-31T23:59:59.9999Z")`: "-1",
		`DATETIMETOTICKS("1970-01-01T00:00:00.0000001Z")`: "1", `TICKSTODATETIME(9223372036854775807)`: "", `TIMESTAMPTODATETIME("1")`: "", `YEAR("2020-05-06")`: "2020", `MONTH("2020-05-06")`: "5",
		`DAY("2020-05-06")`: "6", `DATETIMEFROMPARTS(2021, 2, 29)`: "", `DATETIMEFROMPARTS(1, 1, 1)`: `"0001-01-01T00:00:00.0000000Z"`,
		`DATETIMEFORMAT("2020-05-06T07:08:09.12", "dd.MM.yyyy HH:mm:ss.fff \\d FFFF")`: `"06.05.2020 07:08:09.120 d 12"`, `DATETIMEFORMAT("2020-05-06", "ss.FFF")`: `"00."`,
		`GETCURRENTDATETIME()`: `"2026-03-31T01:02:03.0045678Z"`, `GETCURRENTTICKS()`: "17749189230045678", `GETCURRENTTIMESTAMPSTATIC()`: "1774918923004",
		`AGO("mm", 1)`: `"2026-02-28T01:02:03.0045678Z"`, `NOW()`: `"2026-03-31T01:02:03.0045678Z"`, `NOW("dd", 1)`: `"2026-04-01T01:02:03.0045678Z"`,
		`DOCUMENTID({"_rid": "AQIDBIAAAAEAAAAAAAAqAA=="})`: "42", `DOCUMENTID({})`: "", `DOCUMENTID(1)`: "",
	} {
		evaluate(t, expression, want)
	}
}

// TestTypeOrder sorts values of all types, both ways.
func TestTypeOrder(t *testing.T) {
	mixed := docs(`{"k":{}}`, `{"k":"a"}`, `{}`, `{"k":1}`, `{"k":true}`, `{"k":[]}`, `{"k":null}`, `{"k":false}`, `{"k":-1}`, `{"k":"B"}`, `{"k":[0]}`)
	want := []string{`{}`, `{"k":null}`, `{"k":false}`, `{"k":true}`, `{"k":-1}`, `{"k":1}`, `{"k":"B"}`, `{"k":"a"}`, `{"k":[]}`, `{"k":[0]}`, `{"k":{}}`}
	got, err := runAll(t, "SELECT VALUE c FROM c ORDER BY c.k", mixed, nil, Options{})
	if err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %s, %v", strings.Join(got, " "), err)
	}
	for n := range len(want) + 2 {
		got, err = runAll(t, fmt.Sprintf("SELECT VALUE c FROM c ORDER BY c.k DESC OFFSET 0 LIMIT %d", n), mixed, nil, Options{})
		for i := range min(n, len(want)) {
			if err != nil || len(got) != min(n, len(want)) || got[i] != want[len(want)-1-i] {
				t.Fatalf("first %d: got %v, %v", n, got, err)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		query, code string
		start, end  int
	}{
		{"", "SC1002", 0, 0}, {"SELECT", "SC1002", 6, 6}, {"SELECT * FROM c WHERE ", "SC1002", 22, 22}, {"SELECT * FROM c;", "SC1010", 15, 16},
		{"SELECT c.12 FROM c", "SC1001", 8, 11}, {"SELECT c.12a FROM c", "SC1010", 8, 12}, {"SELECT 'a", "SC1012", 7, 9}, {`SELECT '\q'`, "SC1010", 8, 10}, {"SELECT /* x */ 1", "SC1001", 7, 8},
		{"SELECT [1,] FROM c", "SC1001", 10, 11}, {"SELECT {a:1,} FROM c", "SC1001", 12, 13}, {"SELECT c.x AS Value FROM c", "SC1001", 14, 19}, {"SELECT TOP -1 * FROM c", "SC1001", 11, 12},
		{"SELECT 1 IN (2) IN (3)", "SC1001", 16, 18}, {"SELECT 1 IN ()", "SC1001", 13, 14}, {"SELECT * FROM c OFFSET 1", "SC1002", 24, 24}, {"SELECT @ FROM c", "SC1010", 7, 8},
		{"SELECT VALUE 'é😀' + x", "SC2001", 21, 22}, {"SELECT * FROM c WHERE d.x = 1", "SC2001", 22, 23}, {"SELECT * FROM food f WHERE food.id = 1", "SC2001", 27, 31}, {"SELECT (SELECT * FROM d) FROM c", "SC2001", 22, 23},
		{"SELECT NOSUCH(c) FROM c", "SC2005", 7, 13}, {"SELECT VECTORDISTANCE(c) FROM c", "SC2005", 7, 21}, {"SELECT LOWER() FROM c", "SC2050", 7, 14}, {"SELECT COUNT() FROM c", "SC2050", 7, 14},
		{"SELECT c.a, c.b AS a FROM c", "SC2022", 12, 15}, {"SELECT * FROM c GROUP BY c.a", "SC2041", 7, 8}, {"SELECT TOP 4294967296 * FROM c", "SC2060", 11, 21}, {"SELECT * FROM c OFFSET 0 LIMIT 4294967296", "SC2061", 31, 41},
		{"SELECT MAX(MIN(c.x)) FROM c", "SC2101", 7, 20}, {"SELECT MAX((SELECT VALUE 1)) FROM c", "SC2101", 7, 28}, {"SELECT c.a, COUNT(1) FROM c", "SC2102", 7, 10}, {"SELECT (SELECT VALUE c.a) FROM c GROUP BY c.b", "SC2102", 21, 24},
		{"SELECT (SELECT TOP 1 c.a FROM c) FROM c", "SC2203", 15, 20}, {"SELECT [1][c.x] FROM c", "SC2990", 7, 15}, {"SELECT * FROM c ORDER BY c.x + 1", "2206", 0, 0}, {"SELECT 1/0", "4001", 0, 0},
		{"SELECT VALUE FullTextScore(c.x, 'a') FROM c", "SC2240", 13, 36}, {"SELECT " + strings.Repeat("udf.f(1),", 10) + "udf.f(1)", "SC3005", 97, 105}, {strings.Repeat(" ", maxTextLength) + "SELECT 1", "SC3020", 0, maxTextLength + 8},
		{"SELECT * ", "", 7, 8}, {"SELECT * FROM c JOIN d IN c.x", "", 7, 8}, {"SELECT 1 FROM c JOIN c IN c.x", "", 21, 29}, {"SELECT COUNT(1) FROM c WHERE COUNT(1) > 1", "", 29, 37}, {"SELECT udf.f(1)", "", 0, 0},
		{"SELECT c.a FROM c GROUP BY c.a ORDER BY c.a", "", 31, 43}, {"SELECT TOP 1 * FROM c OFFSET 1 LIMIT 1", "", 7, 12}, {"SELECT (SELECT VALUE t FROM t IN c.tags) FROM c", "", 0, 0},
		{"SELECT 1 FROM c" + strings.Repeat(" JOIN (SELECT 1)", 11), "", 0, 191}, {"SELECT " + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000), "", 1506, 1507},
		{"SELECT 1" + strings.Repeat("+1", 30000), "", 0, 60008}, {"SELECT c" + strings.Repeat(".a", 30000) + " FROM c", "", 0, 60015}, {"SELECT " + strings.Repeat("-", 3000) + "1", "SC1002", 3008, 3008},
	} {
		_, err := runAll(t, tc.query, people, nil, Options{})
		var e *SyntaxError
		if !errors.As(err, &e) || e.Code != tc.code || e.Start != tc.start || e.End != tc.end || e.Message == "" {
			t.Errorf("%.60q: got %+v, want %s at %d-%d", tc.query, err, tc.code, tc.start, tc.end)
		}
	}
}

// TestLongQueries: what clients write for long conditions is neither nested too deeply nor slow.
func TestLongQueries(t *testing.T) {
	terms := strings.Repeat("(", 1200) + "false" + strings.Repeat(" OR (c.age = 1))", 1200)
	list := strings.Repeat("0,", 20000) + "36"
	keys := strings.TrimSuffix(strings.Repeat("c.age,", 5000), ",")
	for query, want := range map[string]int{
		"SELECT * FROM c WHERE " + terms + " OR c.age = 36": 1, "SELECT * FROM c WHERE c.age IN (" + list + ")": 1,
		"SELECT * FROM c WHERE true" + strings.Repeat(" AND c.age > 40", 9000): 2, "SELECT c.age AS x FROM c GROUP BY " + keys: 3,
	} {
		if got, err := runAll(t, query, people, nil, Options{}); err != nil || len(got) != want {
			t.Errorf("%.60s: %d results, %v", query, len(got), err)
		}
	}
}

// TestLimits: each bound ends a run with its error.
func TestLimits(t *testing.T) {
	many := make(documents, 5000)
	for i := range many {
		many[i] = fmt.Appendf(nil, `{"id":"%d","k":%d,"s":"%s"}`, i, i, strings.Repeat("x", 200))
	}
	double := "'xxxxxxxx'"
	list := "[1,2,3,4]"
	for i := range 40 {
		double = fmt.Sprintf("(SELECT VALUE a%d || a%d FROM (SELECT VALUE %s) AS a%d)", i, i, double, i)
		list = fmt.Sprintf("(SELECT VALUE [b%d, b%d] FROM (SELECT VALUE %s) AS b%d)", i, i, list, i)
	}
	big := strings.Repeat("y", 9000)
	for _, tc := range []struct {
		query string
		o     Options
		want  error
	}{
		{"SELECT VALUE COUNT(1) FROM c WHERE c.k > 1", Options{MaxSteps: 100}, ErrTooMuchWork},
		{"SELECT VALUE '" + strings.Repeat("a", 5000) + "' LIKE '%a%a%a%a%ab'", Options{MaxSteps: 1000}, ErrTooMuchWork},
		{"SELECT * FROM c ORDER BY c.k", Options{MaxMemory: 1 << 20}, ErrTooMuchMemory},
		{"SELECT DISTINCT c.s, c.k FROM c", Options{MaxMemory: 1 << 20}, ErrTooMuchMemory},
		{"SELECT c.k FROM c GROUP BY c.k", Options{MaxMemory: 1 << 20}, ErrTooMuchMemory},
		{"SELECT VALUE MAKELIST(c.s) FROM c", Options{MaxMemory: 1 << 20}, ErrTooMuchMemory},
		{"SELECT VALUE " + double, Options{}, ErrTooMuchMemory},
		{"SELECT VALUE " + list, Options{}, ErrTooMuchMemory},
		{"SELECT VALUE REPLACE(REPLACE('" + big + "', 'y', '" + big + "'), 'y', '" + big + "')", Options{}, ErrTooMuchMemory},
		{"SELECT * FROM c ORDER BY c.k DESC OFFSET 10 LIMIT 10", Options{MaxMemory: 1 << 20}, nil},
		{"SELECT VALUE COUNT(1) FROM c WHERE ARRAY_LENGTH(ARRAY(SELECT DISTINCT VALUE x FROM (SELECT VALUE c.s) x)) = 1", Options{MaxMemory: 1 << 20}, nil},
	} {
		if _, err := runAll(t, tc.query, many, nil, tc.o); !errors.Is(err, tc.want) {
			t.Errorf("%.80s: %v, want %v", tc.query, err, tc.want)
		}
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p, err := compile("SELECT VALUE SUM(1) FROM c JOIN a IN c.tags JOIN b IN c.tags JOIN d IN c.tags")
	if err != nil {
		t.Fatal(err)
	}
	many := make(documents, 5000)
	for i := range many {
		many[i] = people[0]
	}
	for _, err := range p.Run(ctx, many, nil, Options{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
}

// TestStop: nobody is called after the caller stopped, and the plan can run again meanwhile.
func TestStop(t *testing.T) {
	for _, query := range []string{"SELECT * FROM c", "SELECT VALUE t FROM c JOIN t IN c.tags", "SELECT * FROM c ORDER BY c.id", "SELECT c.id FROM c GROUP BY c.id", "SELECT TOP 2 VALUE t FROM t IN (SELECT VALUE c.tags FROM c)"} {
		p, err := compile(query)
		if err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for result, err := range p.Run(t.Context(), people, nil, Options{}) {
					if err != nil || len(result) == 0 {
						t.Errorf("%s: %s, %v", query, result, err)
					}
					break
				}
			})
		}
		group.Wait()
	}
}

func TestStreaming(t *testing.T) {
	for query, want := range map[string][2]bool{
		"SELECT * FROM c": {true, true}, "SELECT c.a FROM c WHERE c.b = 1": {true, true}, "SELECT * FROM c ORDER BY c.a": {}, "SELECT TOP 1 * FROM c": {},
		"SELECT VALUE COUNT(1) FROM c": {}, "SELECT VALUE t FROM t IN c.tags": {false, true}, "SELECT t FROM c JOIN t IN c.tags": {false, true}, "SELECT DISTINCT c.a FROM c": {},
		"SELECT 1": {}, "SELECT VALUE x FROM (SELECT VALUE c.a FROM c) x": {}, "SELECT c.a FROM c GROUP BY c.a": {}, "SELECT * FROM c OFFSET 1 LIMIT 1": {},
	} {
		p, err := compile(query)
		if err != nil || p.Streaming() != want[0] || p.PerRow() != want[1] {
			t.Errorf("%s: %v, %v", query, p, err)
		}
	}
}

func TestUDF(t *testing.T) {
	udf := func(_ context.Context, name string, args []json.RawMessage) (json.RawMessage, error) {
		switch {
		case name == "fails":
			return nil, errCorrupt
		case len(args) == 0:
			return nil, nil
		}
		return fmt.Appendf(nil, `{"name":%q,"first":%s}`, name, args[0]), nil
	}
	for query, want := range map[string]string{
		`SELECT VALUE udf.f(c.tags).first[1] FROM c`: `"b" "c"`, `SELECT VALUE udf.f(c.addr).name FROM c`: `"f"`, `SELECT VALUE udf.none() FROM c`: ``,
	} {
		got, err := runAll(t, query, people, nil, Options{UDF: udf})
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %v, %v", query, got, err)
		}
	}
	if _, err := runAll(t, `SELECT udf.fails()`, nil, nil, Options{UDF: udf}); !errors.Is(err, errCorrupt) {
		t.Error(err)
	}
}

// TestBadJSON: what is not JSON is an error where it is looked at, and never a result.
func TestBadJSON(t *testing.T) {
	for _, bad := range []string{``, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,}`, `{"a":[1,]}`, `{a:1}`, `{"a":"x}`, `{"a":tru}`, `{"a":1-}`, `{"a" 1}`, `{,}`, `{"a":1}}`, `{"a":"\q"}`, `{"a":{]}`, `nul`} {
		got, err := runAll(t, `SELECT VALUE c.a[0] ?? c.a FROM c`, docs(bad), nil, Options{})
		if !errors.Is(err, errCorrupt) {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
		if _, err := runAll(t, `SELECT VALUE @p`, nil, Params{"@p": json.RawMessage(bad)}, Options{}); err == nil && bad != "" {
			t.Errorf("%q: no error as a parameter", bad)
		}
	}
}

func BenchmarkScan(b *testing.B) {
	doc := `{"id":"abc","pk":"x","n":12,"name":"` + strings.Repeat("y", 300) + `","tags":["a","b","c"],"addr":{"city":"NY","zip":[1,2,3]},"m":{"a":1,"c":{"d":4}},"_rid":"a","_ts":1}`
	many := make(documents, 1000)
	for i := range many {
		many[i] = []byte(doc)
	}
	for _, query := range []string{"SELECT VALUE c.id FROM c WHERE c.n > 10 AND c.addr.city = 'NY'", "SELECT * FROM c", "SELECT c.n, COUNT(1) AS k FROM c GROUP BY c.n"} {
		b.Run(query, func(b *testing.B) {
			p, err := compile(query)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(doc) * len(many)))
			b.ReportAllocs()
			for b.Loop() {
				for _, err := range p.Run(b.Context(), many, nil, Options{}) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
