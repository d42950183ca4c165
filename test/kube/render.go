// render: what "helm template" prints, for charts without dependencies and hooks. Helm itself is in no package of the
// distribution; its engine is Go's text/template with the functions of Sprig, and both are. What differs from Helm: values
// are not checked against the schema (the test does that), and lookup finds nothing (as in helm template).
//
//	render CHART RELEASE NAMESPACE [--set key.sub[0]=value ...] [--set-string key.s\.b=value ...]
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"github.com/ghodss/yaml"
)

type object = map[string]interface{}

func toYaml(value interface{}) string {
	data, err := yaml.Marshal(value)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(data), "\n")
}

func toJson(value interface{}) string {
	data, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(data)
}

func fromYaml(text string) object {
	value := object{}
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		value["Error"] = err.Error()
	}
	return value
}

func required(why string, value interface{}) (interface{}, error) {
	if value == nil || value == "" {
		return value, errors.New(why)
	}
	return value, nil
}

// The engine of Helm 3: pkg/engine of its source.
func engine() *template.Template {
	all := template.New("gotpl")
	functions := sprig.TxtFuncMap()
	delete(functions, "env")
	delete(functions, "expandenv")
	include := func(name string, data interface{}) (string, error) {
		var out strings.Builder
		err := all.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	functions["toYaml"], functions["fromYaml"], functions["toJson"] = toYaml, fromYaml, toJson
	functions["required"], functions["include"] = required, include
	functions["lookup"] = func(string, string, string, string) object { return object{} }
	functions["fail"] = func(why string) (string, error) { return "", errors.New(why) }
	return all.Option("missingkey=zero").Funcs(functions)
}

// As helm --set types them.
func typed(text string) interface{} {
	switch text {
	case "true":
		return true
	case "false":
		return false
	case "null":
		return nil
	}
	if number, err := strconv.ParseInt(text, 10, 64); err == nil && (text == "0" || text[0] != '0') {
		return number
	}
	return text
}

// A dot that belongs to the name has a backslash before it.
var step = regexp.MustCompile(`^((?:\\.|[^.\[\]\\])+)|^\[(\d+)\]|^\.((?:\\.|[^.\[\]\\])+)`)

func set(in interface{}, path string, value interface{}) interface{} {
	if path == "" {
		return value
	}
	found := step.FindStringSubmatch(path)
	if found == nil {
		fail(fmt.Errorf("--set: %s", path))
	}
	rest := path[len(found[0]):]
	if found[2] != "" {
		list, _ := in.([]interface{})
		index, _ := strconv.Atoi(found[2])
		for len(list) <= index {
			list = append(list, nil)
		}
		list[index] = set(list[index], rest, value)
		return list
	}
	values, ok := in.(object)
	if !ok {
		values = object{}
	}
	name := strings.ReplaceAll(found[1]+found[3], `\`, "")
	values[name] = set(values[name], rest, value)
	return values
}

func read(file string) object {
	data, err := os.ReadFile(file)
	fail(err)
	value := object{}
	fail(yaml.Unmarshal(data, &value))
	return value
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func main() {
	if len(os.Args) < 4 {
		fail(errors.New("render CHART RELEASE NAMESPACE [--set key=value ...]"))
	}
	chart := os.Args[1]
	about := read(filepath.Join(chart, "Chart.yaml"))
	values := interface{}(read(filepath.Join(chart, "values.yaml")))
	for i := 4; i+1 < len(os.Args); i += 2 {
		for _, pair := range strings.Split(os.Args[i+1], ",") {
			key, text, _ := strings.Cut(pair, "=")
			if os.Args[i] == "--set-string" {
				values = set(values, key, text)
			} else {
				values = set(values, key, typed(text))
			}
		}
	}
	names, err := filepath.Glob(filepath.Join(chart, "templates", "*"))
	fail(err)
	sort.Strings(names)
	all := engine()
	for _, name := range names {
		text, err := os.ReadFile(name)
		fail(err)
		_, err = all.New(filepath.Base(name)).Parse(string(text))
		fail(err)
	}
	data := object{
		"Values":  values,
		"Chart":   object{"Name": about["name"], "Version": about["version"], "AppVersion": about["appVersion"]},
		"Release": object{"Name": os.Args[2], "Namespace": os.Args[3], "Service": "Helm", "IsInstall": true, "Revision": 1},
	}
	out := bytes.Buffer{}
	for _, name := range names {
		base := filepath.Base(name)
		if strings.HasPrefix(base, "_") {
			continue
		}
		var text strings.Builder
		fail(all.ExecuteTemplate(&text, base, data))
		clean := strings.ReplaceAll(text.String(), "<no value>", "")
		if base != "NOTES.txt" && strings.TrimSpace(clean) != "" {
			fmt.Fprintf(&out, "---\n# Source: %s/templates/%s\n%s\n", about["name"], base, strings.TrimSpace(clean))
		}
	}
	// What "helm template --show-only values" would give, for the test that checks the schema.
	if os.Getenv("RENDER_VALUES") != "" {
		fmt.Println(toJson(values))
		return
	}
	os.Stdout.Write(out.Bytes())
}
