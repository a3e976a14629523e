//! Values as nested tables, and ways through them: a path has a name for each table and a number for each element.

use std::slice;

use figment::value::{Dict, Value};

/// The value at `key`, in which a number stands for an element of a list.
pub(super) fn value_at<'a>(table: &'a Dict, key: &[String]) -> Option<&'a Value> {
    let (name, rest) = key.split_first()?;
    let mut value = table.get(name)?;
    for name in rest {
        value = match value {
            Value::Dict(_, inner) => inner.get(name)?,
            Value::Array(_, elements) => elements.get(name.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

/// The key of every value that is neither a table nor a list of tables.
pub(super) fn keys(table: &Dict) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (key, value) in leaves(table) {
        keys_inside(key, value, &mut found);
    }
    found
}

/// Collects the keys of a value: its own, or those of the tables that are its elements.
fn keys_inside(key: Vec<String>, value: &Value, found: &mut Vec<Vec<String>>) {
    match value {
        Value::Array(_, elements) if elements.iter().any(|element| element.as_dict().is_some()) => {
            for (at, element) in elements.iter().enumerate() {
                keys_inside([key.as_slice(), &[at.to_string()]].concat(), element, found);
            }
        }
        Value::Dict(_, table) => {
            for (name, value) in table {
                keys_inside([key.as_slice(), slice::from_ref(name)].concat(), value, found);
            }
        }
        _ => found.push(key),
    }
}

/// Takes out the value at `path`, or the nearest one above it that is neither a table nor a list of tables.
pub(super) fn take(table: &mut Dict, path: &[String]) -> Option<Value> {
    let (name, rest) = path.split_first()?;
    match (table.get_mut(name), rest) {
        (Some(Value::Dict(_, inner)), [_, ..]) => take(inner, rest),
        (Some(Value::Array(_, elements)), [at, inside @ ..]) if !inside.is_empty() => {
            let element = at.parse::<usize>().ok().and_then(|at| elements.get_mut(at));
            match element {
                Some(Value::Dict(_, inner)) => take(inner, inside),
                _ => table.remove(name),
            }
        }
        (Some(_), _) => table.remove(name),
        (None, _) => None,
    }
}

/// Puts `value` at `key`, which takes the place of what was there.
pub(super) fn put(table: &mut Dict, key: &[String], value: Value) {
    match key {
        [] => {}
        [name] => drop(table.insert(name.clone(), value)),
        [name, rest @ ..] => {
            if let Some(Value::Dict(_, inner)) = table.get_mut(name) {
                put(inner, rest, value);
            }
        }
    }
}

/// The tables of `key` around `value`.
pub(super) fn nest(key: &[String], value: Value) -> Dict {
    let mut dict = Dict::new();
    if let Some((name, rest)) = key.split_first() {
        let inner = if rest.is_empty() {
            value
        } else {
            Value::from(nest(rest, value))
        };
        dict.insert(name.clone(), inner);
    }
    dict
}

/// The tables that say something.
pub(super) fn without_empty_tables(table: Dict) -> Dict {
    table
        .into_iter()
        .filter(|(_, value)| value.as_dict().is_none_or(|inner| !inner.is_empty()))
        .collect()
}

/// Every value of `table` that is not a table, with its key.
pub(super) fn leaves(table: &Dict) -> Vec<(Vec<String>, &Value)> {
    /// Those of a table inside, at `path`.
    fn collect<'a>(table: &'a Dict, path: &mut Vec<String>, found: &mut Vec<(Vec<String>, &'a Value)>) {
        for (name, value) in table {
            path.push(name.clone());
            match value {
                Value::Dict(_, inner) => collect(inner, path, found),
                other => found.push((path.clone(), other)),
            }
            path.pop();
        }
    }
    let mut found = Vec::new();
    collect(table, &mut Vec::new(), &mut found);
    found
}

#[cfg(test)]
mod tests {
    use figment::providers::{Format, Toml};

    use super::*;

    /// The table that a text is.
    fn table(text: &str) -> Dict {
        Toml::from_str(text).unwrap()
    }

    /// The path that a dotted key is.
    fn path(key: &str) -> Vec<String> {
        key.split('.').map(ToOwned::to_owned).collect()
    }

    #[test]
    fn a_list_of_tables_is_looked_into_and_a_plain_list_is_a_value() {
        let table = table("a = [1, 2]\n[[b]]\nx = 1\n[[b]]\ny = { z = [3] }\n");
        assert_eq!(keys(&table), [path("a"), path("b.0.x"), path("b.1.y.z")]);
        assert_eq!(leaves(&table).len(), 2, "for those who show it, it is one value");
        assert_eq!(value_at(&table, &path("b.1.y.z.0")), Some(&Value::from(3)));
        assert_eq!(value_at(&table, &path("b.2.y")), None);
        assert_eq!(value_at(&table, &path("a.x")), None);
    }

    #[test]
    fn what_is_taken_out_of_a_table_in_a_list_leaves_the_rest_in_its_place() {
        let mut found = table("[[b]]\nx = 1\n[[b]]\ny = 2\nz = [3, 4]\n");
        assert!(take(&mut found, &path("b.1.y")).is_some());
        assert_eq!(found, table("[[b]]\nx = 1\n[[b]]\nz = [3, 4]\n"));
        assert!(take(&mut found, &path("b.1.z.0")).is_some());
        assert_eq!(found, table("[[b]]\nx = 1\n[[b]]\n"));
        assert!(take(&mut found, &path("b.7.x")).is_some());
        assert_eq!(
            found,
            table(""),
            "an element that is not there takes the list along, so that reading comes to an end"
        );
    }
}
