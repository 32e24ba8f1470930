//! An edit of any configuration, however it is written, changes one key and no other byte.

use proptest::{collection::vec, prelude::*, sample::select};
use toml_edit::DocumentMut;
use use_pause::{containerd::KEYS, edit};

const IMAGE: &str = "localhost/pause:0.1.0";

/// Names that take no quotes and names that do.
const NAMES: [&str; 9] = [
    "plugins",
    "sandbox_image",
    "containerd",
    "x",
    "a b",
    "ü",
    "",
    "[x]",
    "io.containerd.grpc.v1.cri",
];

const VALUES: [&str; 20] = [
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
];

/// A name as a file spells it: bare if TOML allows that, and else in such quotes.
fn spelled(name: &str, quote: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(is_bare) {
        name.to_owned()
    } else {
        format!("{quote}{name}{quote}")
    }
}

/// A path of names, often a part of one that names the image.
fn path() -> impl Strategy<Value = String> {
    let known = (select(&KEYS[..]), 0..3_usize, 1..5_usize).prop_map(|(key, from, length)| {
        let names = key.iter().skip(from).take(length);
        names.copied().collect()
    });
    let names = prop_oneof![3 => known, 1 => vec(select(&NAMES[..]), 1..4)];
    (names, select(vec!["\"", "'"])).prop_map(|(names, quote)| {
        let names = names.iter().map(|name| spelled(name, quote));
        names.collect::<Vec<_>>().join(".")
    })
}

fn spaces() -> impl Strategy<Value = &'static str> {
    select(vec!["", " ", "\t"])
}

fn pair(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (path(), spaces(), value).prop_map(|(path, s, value)| format!("{path}{s}={s}{value}"))
}

/// A value, which may be an inline table.
fn value() -> impl Strategy<Value = String> {
    let plain = select(&VALUES[..]).prop_map(str::to_owned);
    plain.prop_recursive(4, 40, 5, |inner| {
        let pairs = vec(pair(inner), 0..4);
        (pairs, spaces()).prop_map(|(pairs, s)| format!("{{{s}{}{s}}}", pairs.join(", ")))
    })
}

fn configuration() -> impl Strategy<Value = String> {
    let header = path().prop_map(|path| format!("[{path}]"));
    let lines = vec(prop_oneof![header, pair(value())], 0..12);
    let ends = select(vec!["\n", "\r\n"]);
    (lines, any::<[bool; 3]>(), ends).prop_map(|(lines, [indent, comments, last_end], end)| {
        let indent = if indent { "  " } else { "" };
        let [above, behind] = if comments {
            ["\n# [plugins.cri]\n", " # y = 1"]
        } else {
            [""; 2]
        };
        let mut text = String::new();
        for line in lines {
            let longer = format!("{text}{above}{indent}{line}{behind}\n");
            // It leaves out a line that TOML does not allow there, such as a second one for a key, or that
            // toml_edit would not write back as it is, which `edit` refuses.
            if longer
                .parse::<DocumentMut>()
                .is_ok_and(|it| it.to_string() == longer)
            {
                text = longer;
            }
        }
        if !last_end {
            text.pop();
        }
        text.replace('\n', end)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..Default::default() })]

    #[test]
    fn a_configuration_stays_what_it_is(old in configuration(), key in select(&KEYS[..])) {
        let document: DocumentMut = old.parse().unwrap();
        let new = match edit::set(&old, key, IMAGE) {
            Ok(new) => new,
            Err(error) => {
                // Something else is in its place, or in that of a table that it is in.
                let is_taken = |depth: usize| {
                    let mut names = key[..depth].iter();
                    let found = names.try_fold(document.as_item(), |item, name| item.get(name));
                    found.is_some_and(|it| {
                        if depth < key.len() { !it.is_table_like() } else { !it.is_str() }
                    })
                };
                prop_assert!((1..=key.len()).any(is_taken), "{error:#}\n{old}");
                return Ok(());
            }
        };
        prop_assert_eq!(edit::get(&new, key).unwrap(), Some(IMAGE.to_owned()));
        prop_assert_eq!(edit::set(&new, key, IMAGE).unwrap(), new.clone());
        let rest = |text: &str| edit::without(text, &[key]).unwrap();
        prop_assert_eq!(rest(&old), rest(&new));
        // If there was no such key, the old bytes are all there, around the new ones.
        if edit::at(&edit::content(&old).unwrap(), key).is_none() {
            let same = |(a, b): &(u8, u8)| a == b;
            let start = old.bytes().zip(new.bytes()).take_while(same).count();
            let end = old.bytes().rev().zip(new.bytes().rev()).take_while(same).count();
            prop_assert!(start + end >= old.len(), "{}\n---\n{}", old, new);
        }
    }
}
