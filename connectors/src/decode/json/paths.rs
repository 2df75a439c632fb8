//! Which columns a key leads to: the declared names as a tree, cut at their dots.
//!
//! ```text
//! columns            tree
//! 0 http.status      (object) ── "http" ──── "status" -> column 0
//! 1 http.method               │           └─ "method" -> column 1
//! 2 path                      ├─ "http.status" -> column 0, by its whole name
//!                             ├─ "http.method" -> column 1, by its whole name
//!                             └─ "path" -> column 2
//! ```

use std::collections::HashMap;

/// A place in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Node(u32);

impl Node {
    /// The payload's object.
    pub(super) const ROOT: Self = Self(0);

    /// Returns the node's place among all nodes.
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is done with the value of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// No column takes it.
    Ignored,
    /// A declared column takes it, or reaches into it, that is not wanted.
    Unwanted,
    /// A column takes it.
    Column(u32),
    /// A column takes it whose name has dots that are not taken apart.
    WholeName(u32),
    /// Columns want what is inside.
    Inside(Node),
}

/// The tree of the declared names.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    nodes: Vec<NodeContents>,
}

#[derive(Clone, Debug, Default)]
struct NodeContents {
    children: HashMap<Box<[u8]>, Target>,
    /// The column that takes the object as text.
    column: Option<u32>,
    /// The columns that want something inside.
    inside: Vec<u32>,
}

impl Paths {
    /// Returns the tree of the columns with these names; `declared` are all names, the unwanted ones too.
    pub(super) fn new<'a>(
        names: impl IntoIterator<Item = &'a str>,
        declared: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut paths = Self {
            nodes: vec![NodeContents::default()],
        };
        for (column, name) in (0..).zip(names) {
            paths.add(column, name);
        }
        let root = &mut paths.nodes[Node::ROOT.index()].children;
        for name in declared {
            let first = name.split('.').next().unwrap_or(name);
            for key in [name, first] {
                root.entry(key.as_bytes().into()).or_insert(Target::Unwanted);
            }
        }
        paths
    }

    fn add(&mut self, column: u32, name: &str) {
        if name.contains('.') {
            let root = &mut self.nodes[Node::ROOT.index()].children;
            root.insert(name.as_bytes().into(), Target::WholeName(column));
        }
        let mut node = Node::ROOT;
        let mut keys = name.split('.').peekable();
        while let Some(key) = keys.next() {
            if keys.peek().is_some() {
                node = self.child(node, key);
                self.nodes[node.index()].inside.push(column);
            } else {
                self.end(node, key, column);
            }
        }
    }

    /// Returns the node below `node` by `key`, which comes to be if there is none.
    fn child(&mut self, node: Node, key: &str) -> Node {
        let found = self.nodes[node.index()].children.get(key.as_bytes()).copied();
        if let Some(Target::Inside(child)) = found {
            return child;
        }
        let child = Node(self.nodes.len() as u32);
        let column = match found {
            Some(Target::Column(column)) => Some(column),
            _ => None,
        };
        self.nodes.push(NodeContents {
            column,
            ..NodeContents::default()
        });
        let children = &mut self.nodes[node.index()].children;
        children.insert(key.as_bytes().into(), Target::Inside(child));
        child
    }

    /// Lets `column` take what is at `key` below `node`.
    fn end(&mut self, node: Node, key: &str, column: u32) {
        match self.nodes[node.index()].children.get(key.as_bytes()) {
            Some(&Target::Inside(child)) => self.nodes[child.index()].column = Some(column),
            _ => {
                let children = &mut self.nodes[node.index()].children;
                children.insert(key.as_bytes().into(), Target::Column(column));
            }
        }
    }

    /// Returns the number of nodes.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns what is done with the value of `key` in the object at `node`.
    pub(super) fn target(&self, node: Node, key: &[u8]) -> Target {
        let children = &self.nodes[node.index()].children;
        children.get(key).copied().unwrap_or(Target::Ignored)
    }

    /// Returns the column that takes the object at `node` as text.
    pub(super) fn column(&self, node: Node) -> Option<u32> {
        self.nodes[node.index()].column
    }

    /// Returns the columns that want something inside the object at `node`.
    pub(super) fn inside(&self, node: Node) -> &[u32] {
        &self.nodes[node.index()].inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_names_are_found_whole_and_taken_apart() {
        let paths = Paths::new(["http.status", "path", "http", "http.url.host"], ["agent.name"]);
        assert_eq!(paths.target(Node::ROOT, b"agent"), Target::Unwanted);
        assert_eq!(paths.target(Node::ROOT, b"agent.name"), Target::Unwanted);
        assert_eq!(paths.target(Node::ROOT, b"path"), Target::Column(1));
        assert_eq!(paths.target(Node::ROOT, b"http.status"), Target::WholeName(0));
        assert_eq!(paths.target(Node::ROOT, b"status"), Target::Ignored);
        let Target::Inside(http) = paths.target(Node::ROOT, b"http") else {
            panic!("http has columns inside");
        };
        assert_eq!(paths.column(http), Some(2));
        assert_eq!(paths.inside(http), [0, 3]);
        assert_eq!(paths.target(http, b"status"), Target::Column(0));
        let Target::Inside(url) = paths.target(http, b"url") else {
            panic!("http.url has a column inside");
        };
        assert_eq!(paths.target(url, b"host"), Target::Column(3));
    }

    #[test]
    fn a_column_and_what_is_inside_it_may_come_in_any_order() {
        for names in [["http", "http.status"], ["http.status", "http"]] {
            let paths = Paths::new(names, names);
            let Target::Inside(http) = paths.target(Node::ROOT, b"http") else {
                panic!("http has a column inside");
            };
            let taken = paths.column(http).expect("http is a column");
            assert_eq!(names[taken as usize], "http");
        }
    }
}
