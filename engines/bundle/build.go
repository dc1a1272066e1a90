package bundle

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"bulkhead/engines/sourcemap"

	"github.com/evanw/esbuild/pkg/api"
)

// loaders are the files that can be imported, by their endings.
var loaders = map[string]api.Loader{
	".ts": api.LoaderTS, ".mts": api.LoaderTS, ".cts": api.LoaderTS, ".tsx": api.LoaderTSX,
	".js": api.LoaderJS, ".mjs": api.LoaderJS, ".cjs": api.LoaderJS, ".jsx": api.LoaderJSX,
	".json": api.LoaderJSON, ".txt": api.LoaderText,
}

// space is what esbuild calls the script's folder, so that it looks for nothing in the file system.
const space = "folder"

// build makes a bundle of a script, whose files read gives. It may panic.
func build(script string, read func(path string) answer) result {
	r := newResolver(read)
	imported := false
	tsconfig, refused := "{}", ""
	if f := read(tsconfigName); f.Kind == isFile {
		tsconfig, refused = readTsconfig(f.content)
	}
	out := api.Build(api.BuildOptions{
		EntryPoints:    []string{script},
		Bundle:         true,
		Outfile:        "/bundle.js",
		AbsWorkingDir:  "/",
		Format:         api.FormatESModule,
		Target:         api.ES2023,
		Platform:       api.PlatformNeutral,
		TreeShaking:    api.TreeShakingTrue,
		Sourcemap:      api.SourceMapExternal,
		SourcesContent: api.SourcesContentExclude,
		LegalComments:  api.LegalCommentsEndOfFile,
		TsconfigRaw:    tsconfig,
		Define:         map[string]string{"process.env.NODE_ENV": `"production"`, "global": "globalThis"},
		LogLevel:       api.LogLevelSilent,
		LogLimit:       maxLines,
		Plugins: []api.Plugin{{Name: space, Setup: func(b api.PluginBuild) {
			b.OnResolve(api.OnResolveOptions{Filter: ".*"}, func(a api.OnResolveArgs) (api.OnResolveResult, error) {
				if a.Kind == api.ResolveEntryPoint {
					return api.OnResolveResult{Path: script, Namespace: space}, nil
				}
				r.mu.Lock()
				defer r.mu.Unlock()
				imported = true
				file, err := r.resolve(a.Path, a.Importer, a.Kind == api.ResolveJSRequireCall)
				if err != nil {
					return api.OnResolveResult{Errors: []api.Message{{Text: fmt.Sprintf("import of %q: %v", short(a.Path), err)}}}, nil
				}
				found := api.OnResolveResult{Path: file, Namespace: space}
				if r.pure(file) {
					found.SideEffects = api.SideEffectsFalse
				}
				return found, nil
			})
			b.OnLoad(api.OnLoadOptions{Filter: ".*", Namespace: space}, func(a api.OnLoadArgs) (api.OnLoadResult, error) {
				r.mu.Lock()
				defer r.mu.Unlock()
				loader, ok := loaders[path.Ext(a.Path)]
				if !ok {
					return api.OnLoadResult{Errors: []api.Message{{Text: a.Path + " cannot be imported; files that end with .ts, .mts, .cts, .tsx, .js, .mjs, .cjs, .jsx, .json and .txt can"}}}, nil
				}
				f := r.at(a.Path)
				if f.Kind != isFile {
					return api.OnLoadResult{Errors: []api.Message{{Text: wrong(f).Error()}}}, nil
				}
				text := string(f.content)
				return api.OnLoadResult{Contents: &text, Loader: loader}, nil
			})
		}}},
	})
	result := result{Errors: lines(out.Errors, script), Warnings: lines(out.Warnings, script)}
	plain := !imported && !typed[path.Ext(script)]
	if refused != "" && !plain {
		result.Errors = append([]string{refused}, result.Errors...)
	}
	if len(result.Errors) > 0 {
		return result
	}
	if plain {
		result.Plain = true
		return result
	}
	var sourceMap []byte
	for _, f := range out.OutputFiles {
		if strings.HasSuffix(f.Path, ".map") {
			sourceMap = f.Contents
		} else {
			result.Code = f.Contents
		}
	}
	result.Code = sourcemap.Append(result.Code, inFolder(sourceMap))
	return result
}

// inFolder is a source map whose sources are paths in the script's folder.
func inFolder(sourceMap []byte) []byte {
	var m struct {
		Version  int      `json:"version"`
		Sources  []string `json:"sources"`
		Names    []string `json:"names"`
		Mappings string   `json:"mappings"`
	}
	if json.Unmarshal(sourceMap, &m) != nil {
		return nil // errors have the lines of the bundle then
	}
	for i, s := range m.Sources {
		m.Sources[i] = strings.TrimPrefix(s, space+":")
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil
	}
	return b
}

// short is a name as a message may have it.
func short(name string) string {
	if len(name) > 100 {
		return strings.ToValidUTF8(name[:100], "") + "..."
	}
	return name
}

// lines are esbuild's messages, each with its place, and its first note.
func lines(all []api.Message, script string) (lines []string) {
	for _, m := range all {
		s := script
		if l := m.Location; l != nil {
			s = fmt.Sprintf("%s:%d:%d", strings.TrimPrefix(l.File, space+":"), l.Line, l.Column+1)
		}
		s += ": " + strings.ReplaceAll(m.Text, space+":", "")
		if len(m.Notes) > 0 {
			s += "; " + m.Notes[0].Text
		}
		lines = append(lines, s)
	}
	return lines
}
