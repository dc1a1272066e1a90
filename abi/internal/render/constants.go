package render

import (
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"unicode"
)

// constantsOf reads the table that abi/constants.go is: its const
// declarations, in order, one group each.
func constantsOf(root string) ([]group, error) {
	name := filepath.Join(root, "abi", "constants.go")
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading the table of constants: %w", err)
	}
	return parseConstants(name, text)
}

// group is one const declaration.
type group struct {
	Doc       string
	Constants []constantDoc
}

// constantDoc is one constant.
type constantDoc struct {
	Name  string // in Go
	C     string // in the C header
	Old   string // in earlier versions of the C header; "" where that is C
	Value string // a Go and C literal
	Doc   string // one paragraph, without the name it starts with
}

func parseConstants(name string, text []byte) ([]group, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, text, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	var groups []group
	for _, d := range file.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.CONST {
			return nil, fmt.Errorf("%s holds something that is no constant", fset.Position(d.Pos()))
		}
		g := group{Doc: paragraph(decl.Doc)}
		for _, s := range decl.Specs {
			spec := s.(*ast.ValueSpec)
			if len(spec.Values) != len(spec.Names) {
				return nil, fmt.Errorf("%s: each constant needs a value of its own", fset.Position(spec.Pos()))
			}
			for i, id := range spec.Names {
				doc := paragraph(spec.Doc)
				if !decl.Lparen.IsValid() {
					doc = paragraph(decl.Doc)
				}
				value, err := valueOf(spec.Values[i])
				var c constantDoc
				if err == nil {
					c, err = documented(id, doc, value)
				}
				if err != nil {
					return nil, fmt.Errorf("%s: %w", fset.Position(id.Pos()), err)
				}
				g.Constants = append(g.Constants, c)
			}
		}
		groups = append(groups, g)
	}
	return groups, nil
}

// valueOf computes what the table has: literals, negative ones, and shifts of whole numbers. The
// type checker could compute everything, but the tests would take four seconds to compile it.
func valueOf(e ast.Expr) (constant.Value, error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if v := constant.MakeFromLiteral(e.Value, e.Kind, 0); v.Kind() != constant.Unknown {
			return v, nil
		}
	case *ast.UnaryExpr:
		v, err := valueOf(e.X)
		if err != nil {
			return nil, err
		}
		if e.Op == token.SUB && (v.Kind() == constant.Int || v.Kind() == constant.Float) {
			return constant.UnaryOp(e.Op, v, 0), nil
		}
	case *ast.BinaryExpr:
		x, err := valueOf(e.X)
		if err != nil {
			return nil, err
		}
		y, err := valueOf(e.Y)
		if err != nil {
			return nil, err
		}
		if e.Op == token.SHL && x.Kind() == constant.Int && y.Kind() == constant.Int {
			if by, ok := constant.Uint64Val(y); ok && by < 64 {
				return constant.Shift(x, e.Op, uint(by)), nil
			}
		}
	case *ast.Ident:
		return nil, fmt.Errorf("undefined: %s", e.Name)
	}
	return nil, errors.New("a value is a literal, a negative one, or one that is shifted to the left by fewer than 64 bits")
}

func documented(id *ast.Ident, doc string, v constant.Value) (constantDoc, error) {
	rest, ok := strings.CutPrefix(doc, id.Name)
	if !ok || !strings.HasSuffix(doc, ".") {
		return constantDoc{}, errors.New(id.Name + " needs a comment that starts with its name and ends with a full stop")
	}
	rest = strings.TrimSpace(rest)
	// "X is the ...", "X are the ..." and "X: the ..." all leave a sentence to print.
	for _, word := range []string{": ", "is ", "are "} {
		rest = strings.TrimPrefix(rest, word)
	}
	doc = capital(rest)
	c := constantDoc{Name: id.Name, C: "CSA_" + upper(id.Name), Value: v.ExactString(), Doc: doc}
	if old := "CSA_" + spelt(id.Name); old != c.C {
		c.Old = old
	}
	return c, nil
}

func paragraph(c *ast.CommentGroup) string {
	return strings.Join(strings.Fields(c.Text()), " ")
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// upper writes a Go name as a macro is written: InfoPeer becomes INFO_PEER, and
// InfoTLSVersion INFO_TLS_VERSION.
func upper(name string) string {
	letters := []rune(name)
	return underscored(letters, func(i int) bool {
		return !unicode.IsUpper(letters[i-1]) || i+1 < len(letters) && unicode.IsLower(letters[i+1])
	})
}

// spelt is what upper was once, which took each capital for the start of a word. The
// names that differ stay in the header, since nothing of a version is taken away.
func spelt(name string) string {
	return underscored([]rune(name), func(int) bool { return true })
}

// underscored writes capitals, with an underscore in front of each letter that was one
// and begins a word.
func underscored(letters []rune, begins func(i int) bool) string {
	var b strings.Builder
	for i, r := range letters {
		if i > 0 && unicode.IsUpper(r) && begins(i) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}
