//! `-o custom-columns=NAME:.metadata.name,IP:.spec.clusterIP`.

use serde_json::Value;

use super::{jsonpath, table::Table};

/// The columns as asked for: header and path.
#[derive(Clone, Debug)]
pub(crate) struct CustomColumns {
    columns: Vec<(String, Vec<jsonpath::Step>)>,
}

impl CustomColumns {
    /// Parses the part after `custom-columns=`.
    pub(crate) fn parse(specification: &str) -> Result<Self, String> {
        if specification.is_empty() {
            return Err("custom-columns format specified but no custom columns given".to_owned());
        }
        let column = |part: &str| {
            let (header, path) = part.split_once(':').ok_or_else(|| {
                format!("unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>")
            })?;
            Ok((header.to_owned(), jsonpath::relaxed(path)?))
        };
        let columns = specification.split(',').map(column).collect::<Result<_, String>>()?;
        Ok(Self { columns })
    }

    /// Objects as aligned rows.
    pub(crate) fn render(&self, objects: &[Value], headers: bool) -> Result<String, String> {
        let mut table = Table::default();
        if headers {
            table.row(self.columns.iter().map(|(header, _)| header.clone()).collect());
        }
        for object in objects {
            let cell = |(_, path): &(String, Vec<jsonpath::Step>)| {
                let found = jsonpath::find(path, object, object)?;
                let texts: Vec<String> = found.into_iter().map(printed).collect();
                Ok(if texts.is_empty() { "<none>".to_owned() } else { texts.join(",") })
            };
            table.row(self.columns.iter().map(cell).collect::<Result<_, String>>()?);
        }
        Ok(table.flush())
    }
}

/// A value as Go's `%v` prints it.
fn printed(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(printed).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut pairs: Vec<String> =
                map.iter().map(|(key, item)| format!("{key}:{}", printed(item))).collect();
            pairs.sort();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::CustomColumns;

    #[test]
    fn columns_are_printed_as_go_does() {
        let columns =
            CustomColumns::parse("NAME:.metadata.name,L:metadata.labels,P:.ports[*].port,X:.nope").unwrap();
        let object = json!({"metadata": {"name": "a", "labels": {"b": "c", "a": "d"}}, "ports": [{"port": 1}, {"port": 2}]});
        assert_eq!(
            columns.render(&[object], true).unwrap(),
            "NAME   L              P     X\na      map[a:d b:c]   1,2   <none>\n"
        );
        assert!(CustomColumns::parse("NAME").is_err());
    }
}
