package sdk_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/internal/playtest"
)

// Handlers in C with the faults that authors make. Each goes well as its conversation is written,
// which was not written to find it, and fails in the way that finds it, with the likely cause.
func TestTryFindsFaultsInC(t *testing.T) {
	for _, c := range []struct {
		name, instance, handler, conversation string
		way, cause                            string
	}{
		{
			name: "an event is taken for a message",
			handler: `#include "csa_handler.h"

static int32_t data(int32_t conn, void *state, const uint8_t *bytes, int32_t len)
{
	int32_t e = csa_conn_write_text(conn, len == 6 && bytes[0] == 'P' ? "+PONG\r\n" : "-ERR\r\n");

	(void)state;
	return e < 0 ? e : len;
}

static const struct csa_handler handler = {.data = data};
CSA_SERVE(handler, 4096)
`,
			conversation: "== a\n> PING\n< +PONG\n",
			way:          "byte by byte", cause: "takes an event for a message",
		},
		{
			name: "a short send is ignored",
			handler: `#include "csa.h"

CSA_DEFINE_WINDOW(window, 4096)

int32_t csa_data(int32_t conn, int32_t len)
{
	(void)csa_v1_send(conn, window, len);
	return len;
}
`,
			conversation: "== a\n> hello\n< hello\n> a\n< a\n",
			way:          "with short sends", cause: "ignores that a send was short",
		},
		{
			name: "bytes are lost at the half-close",
			handler: `#include "csa.h"

CSA_DEFINE_WINDOW(window, 4096)
CSA_DEFINE_QUEUE(queue, 4096)

int32_t csa_data(int32_t conn, int32_t len)
{
	static const char answer[] = "a rather long answer of forty bytes is\r\n";

	for (int32_t i = 0; i < len; i++)
		if (window[i] == '\n') {
			int32_t e = csa_write(&queue, conn, answer, sizeof answer - 1);

			if (e < 0)
				return e;
		}
	return len;
}

void csa_writable(int32_t conn) { csa_flush(&queue, conn); }

void csa_eof(int32_t conn) { (void)csa_v1_control(conn, CSA_PRODUCER_FINISHED); }
`,
			conversation: "== a\n> hello\n< a rather long answer of forty bytes is\n",
			way:          "ended at once", cause: "bytes are lost at the half-close",
		},
		{
			name: "what one connection says is another's", instance: "listener",
			handler: `#include "csa_handler.h"

static uint8_t last[64];
static int32_t known;

static int32_t data(int32_t conn, void *state, const uint8_t *bytes, int32_t len)
{
	struct csa_bytes line;
	int32_t used, done = 0, e;

	(void)state;
	while ((used = csa_line(bytes + done, len - done, 60, &line)) > 0) {
		if ((e = csa_conn_write(conn, last, known)) < 0 || (e = csa_conn_write_text(conn, ".\r\n")) < 0)
			return e;
		for (known = 0; known < line.len; known++)
			last[known] = line.at[known];
		done += used;
	}
	return used < 0 ? used : done;
}

static const struct csa_handler handler = {.data = data};
CSA_SERVE(handler, 4096)
`,
			conversation: "== a\n> one\n< .\n> two\n< one.\n",
			way:          "beside other clients", cause: "keeps for all connections what is one connection's",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "handler.c"), []byte(c.handler), 0o600); err != nil {
				t.Fatal(err)
			}
			plugin := filepath.Join(dir, "handler.wasm")
			playtest.Build(t, dir, plugin)
			r := playtest.FirstFailure(t, plugin, c.instance, "a.talk", []byte(c.conversation))
			if r == nil {
				t.Fatal("nothing finds it")
			}
			if r.Variant.Name != c.way || !strings.Contains(r.Variant.Cause, c.cause) || r.Variant.Mend == "" {
				t.Errorf("it fails %s: %+v; the cause: %s; the mend: %s; want %s", r.Variant.Name, r.Failure, r.Variant.Cause, r.Variant.Mend, c.way)
			}
		})
	}
}
