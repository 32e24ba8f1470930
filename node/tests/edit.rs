//! Any configuration, written in any way, keeps its meaning and its bytes but for the one key.

use proptest::{collection::vec, prelude::*, sample::select};
use use_pause::{containerd::KEYS, edit};

const IMAGE: &str = "localhost/pause:0.1.0";
/// What a table has.
#[derive(Clone, Debug)]
enum Node {
    /// As it is written.
    Value(String),
    Table(Style, Vec<(String, Node)>),
}

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Style {
    Header,
    Dotted,
    Inline,
}

fn value() -> impl Strategy<Value = Node> {
    let text = select(vec![
        "\"registry.k8s.io/pause:3.9\"",
        "'registry.k8s.io/pause:3.10'",
        "\"\"\"\nlocalhost # no comment\n\"\"\"",
        "'''[plugins.cri]'''",
        "\"\\\"[plugins]\\\"\"",
        "\"ü\"",
        "16384",
        "-1",
        "0x1f",
        "1_000",
        "1.5e3",
        "true",
        "false",
        "1979-05-27T07:32:00Z",
        "07:32:00",
        "[]",
        "[ 1, 2 ,3 ]",
        "[\n  'a', # one\n  'b',\n]",
        "[ { a = 1 }, { sandbox_image = 'x' } ]",
        "{}",
    ]);
    text.prop_map(|text| Node::Value(text.to_owned()))
}

fn name() -> impl Strategy<Value = String> {
    let names = vec![
        "plugins",
        "cri",
        "io.containerd.grpc.v1.cri",
        "io.containerd.cri.v1.images",
        "pinned_images",
        "sandbox_image",
        "sandbox",
        "containerd",
        "registry",
        "a b",
        "ü",
        "",
        "[x]",
        "x",
    ];
    select(names).prop_map(str::to_owned)
}

fn table(of: impl Strategy<Value = Node> + Clone) -> impl Strategy<Value = Vec<(String, Node)>> {
    vec((name(), of), 0..5).prop_map(|mut entries| {
        let mut seen = std::collections::HashSet::new();
        entries.retain(|(name, _)| seen.insert(name.clone()));
        entries
    })
}

/// Tables in tables; those on the way to the keys come often.
fn tree() -> impl Strategy<Value = Vec<(String, Node)>> {
    let style = || select(vec![Style::Header, Style::Dotted, Style::Inline]);
    let node = value().prop_recursive(4, 40, 5, move |inner| {
        (style(), table(inner)).prop_map(|(style, entries)| Node::Table(style, entries))
    });
    (
        table(node.clone()),
        style(),
        table(node.clone()),
        table(node),
    )
        .prop_map(|(mut top, style, mut plugins, cri)| {
            top.retain(|(name, _)| name != "plugins");
            plugins.retain(|(name, _)| name != "io.containerd.grpc.v1.cri");
            plugins.push((
                "io.containerd.grpc.v1.cri".to_owned(),
                Node::Table(style, cri),
            ));
            top.push(("plugins".to_owned(), Node::Table(style, plugins)));
            top
        })
}

/// How all of a file is written.
#[derive(Clone, Debug)]
struct Spelling {
    indent: bool,
    single: bool,
    comments: bool,
    spaces: &'static str,
    ends: &'static str,
    last_end: bool,
}

fn spelling() -> impl Strategy<Value = Spelling> {
    (
        any::<[bool; 4]>(),
        select(vec!["", " ", "\t"]),
        select(vec!["\n", "\r\n"]),
    )
        .prop_map(
            |([indent, single, comments, last_end], spaces, ends)| Spelling {
                indent,
                single,
                comments,
                spaces,
                ends,
                last_end,
            },
        )
}

impl Spelling {
    fn key(&self, name: &str) -> String {
        let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        match (!name.is_empty() && name.chars().all(bare), self.single) {
            (true, _) => name.to_owned(),
            (false, true) => format!("'{name}'"),
            (false, false) => format!("\"{name}\""),
        }
    }

    fn inline(&self, node: &Node) -> String {
        match node {
            // An inline table stands in one line.
            Node::Value(text) => text.clone(),
            Node::Table(_, entries) => {
                let entries = entries
                    .iter()
                    .map(|(name, node)| format!("{} = {}", self.key(name), self.inline(node)));
                let entries: Vec<String> = entries.collect();
                format!("{{{0}{1}{0}}}", self.spaces, entries.join(", "))
            }
        }
    }

    /// The keys of a table, those of dotted ones too, and then the tables with headers.
    fn write(&self, path: &[String], entries: &[(String, Node)], depth: usize, out: &mut String) {
        let indent = if self.indent {
            "  ".repeat(depth)
        } else {
            String::new()
        };
        self.keys(&indent, "", entries, out);
        for (name, node) in entries {
            if let Node::Table(Style::Header, entries) = node {
                let path = [path, &[self.key(name)]].concat();
                if self.comments {
                    out.push_str(&format!("\n{indent}# [plugins.cri]\n"));
                }
                out.push_str(&format!("{indent}[{}]", path.join(".")));
                out.push_str(if self.comments { " # x\n" } else { "\n" });
                self.write(&path, entries, depth + 1, out);
            }
        }
    }

    fn keys(&self, indent: &str, prefix: &str, entries: &[(String, Node)], out: &mut String) {
        for (name, node) in entries {
            let key = format!("{prefix}{}", self.key(name));
            match node {
                // In a dotted table no table has a header, and one that is empty says nothing.
                Node::Table(Style::Dotted, entries) => {
                    self.keys(indent, &format!("{key}."), entries, out);
                }
                Node::Table(Style::Header, _) if prefix.is_empty() => {}
                _ => {
                    let s = self.spaces;
                    out.push_str(&format!("{indent}{key}{s}={s}{}", self.inline(node)));
                    out.push_str(if self.comments { " # y = 1\n" } else { "\n" });
                }
            }
        }
    }

    fn text(&self, tree: &[(String, Node)]) -> String {
        let mut text = String::new();
        self.write(&[], tree, 0, &mut text);
        if !self.last_end {
            text.truncate(text.trim_end_matches('\n').len());
        }
        text.replace('\n', self.ends)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..Default::default() })]

    #[test]
    fn a_configuration_stays_what_it_is(tree in tree(), spelling in spelling(), key in select(&KEYS[..])) {
        let old = spelling.text(&tree);
        let parsed = old.parse::<toml_edit::DocumentMut>();
        // A dotted table may not have a header besides.
        prop_assume!(parsed.is_ok());
        let parsed = parsed.unwrap();
        let new = match edit::set(&old, key, IMAGE) {
            Ok(new) => new,
            // Refused where something else is in its place, and only there.
            Err(error) => {
                let mut item = parsed.as_item();
                for (index, name) in key.iter().enumerate() {
                    match item.get(name) {
                        Some(next) if index + 1 == key.len() && !next.is_str() => return Ok(()),
                        Some(next) if next.is_table_like() => item = next,
                        Some(_) => return Ok(()),
                        None => break,
                    }
                }
                panic!("{error:#}\n{old}");
            }
        };
        prop_assert_eq!(edit::get(&new, key).unwrap(), Some(IMAGE.to_owned()));
        prop_assert_eq!(edit::set(&new, key, IMAGE).unwrap(), new.clone());
        let meaning = |text: &str| edit::without(content(text), key);
        prop_assert_eq!(meaning(&old), meaning(&new));
        // The bytes: without what was put in, the old file is what is left.
        let (mut start, mut end) = (0, 0);
        let (a, b) = (old.as_bytes(), new.as_bytes());
        while start < a.len().min(b.len()) && a[start] == b[start] {
            start += 1;
        }
        while end < a.len().min(b.len()) - start && a[a.len() - 1 - end] == b[b.len() - 1 - end] {
            end += 1;
        }
        let gone = &old[start..old.len() - end];
        let value = edit::get(&old, key).unwrap();
        if value.is_none() && edit::at(&content(&old), key).is_none() {
            prop_assert_eq!(gone, "", "\n{}\n---\n{}", old, new);
        }
    }
}

fn content(text: &str) -> serde_json::Value {
    edit::content(text).unwrap()
}
