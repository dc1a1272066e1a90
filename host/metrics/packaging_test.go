package metrics

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"bulkhead/host/openmetrics"
)

var namedMetric = regexp.MustCompile(`\b(?:bulkhead|process)_[a-z_]+\b`)

// What alerts and the dashboard look at is in the table; else they are silent for ever.
func TestAlertsAndDashboardNameMetrics(t *testing.T) {
	known := make(map[string]bool)
	for _, f := range Families() {
		known[f.Name] = true
		if f.Kind == openmetrics.Histogram {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				known[f.Name+part] = true
			}
		}
	}
	for _, file := range []string{"alerts.yml", "alerts_test.yml", "dashboard.json"} {
		text, err := os.ReadFile("../../packaging/" + file)
		if err != nil {
			t.Fatal(err)
		}
		names := namedMetric.FindAllString(string(text), -1)
		if len(names) < 5 {
			t.Errorf("%s names %d metrics: the test looks for the wrong thing", file, len(names))
		}
		for _, name := range names {
			if !known[name] {
				t.Errorf("%s looks at %s, which there is not", file, name)
			}
		}
	}
}

// The dashboard is JSON, each panel has its place and asks for something.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../../packaging/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			ID      int
			Type    string
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	ids := make(map[int]bool)
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the ID %d", p.ID)
		}
		ids[p.ID] = true
		if p.GridPos.X+p.GridPos.W > 24 || p.GridPos.W == 0 || p.Title == "" {
			t.Errorf("the panel %q has no place", p.Title)
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("the panel %q asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			if strings.Count(target.Expr, "(") != strings.Count(target.Expr, ")") || strings.Count(target.Expr, "{") != strings.Count(target.Expr, "}") {
				t.Errorf("the panel %q asks for %s", p.Title, target.Expr)
			}
		}
	}
	if len(d.Panels) < 10 {
		t.Errorf("there are %d panels", len(d.Panels))
	}
}
