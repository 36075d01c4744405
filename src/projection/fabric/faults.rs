//! What is broken or slow: links, switches, planes, nodes.

use std::fmt;
use std::str::FromStr;

/// A part of the fabric at a share of its bandwidth.
#[derive(Debug, Clone, PartialEq)]
pub struct FabricFault {
    /// Which part.
    pub broken: Broken,
    /// What is left of its bandwidth: 0 is down, 0.5 half rate.
    pub left: f64,
}

/// A part of the fabric that can fail. Numbers start at 0; a node is a member of the innermost tier, a rank is what the
/// fabric's published degrees count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Broken {
    /// A rank's link to one plane, both directions.
    Link {
        /// The rank.
        rank: usize,
        /// The plane.
        plane: usize,
    },
    /// A node's first-level switch of one plane: the links of all its ranks to that plane.
    Switch {
        /// The node.
        node: usize,
        /// The plane.
        plane: usize,
    },
    /// What joins a node's switch to the rest of its plane.
    Uplink {
        /// The node.
        node: usize,
        /// The plane.
        plane: usize,
    },
    /// One of the second-level switches of a plane.
    CoreSwitch {
        /// The plane.
        plane: usize,
    },
    /// A whole plane.
    Plane {
        /// The plane.
        plane: usize,
    },
    /// A node with all its ranks.
    Node {
        /// The node.
        node: usize,
    },
    /// One rank.
    Rank {
        /// The rank.
        rank: usize,
    },
    /// The direct link between two chips of a full mesh.
    Direct {
        /// One end, the lower number.
        from: usize,
        /// The other.
        to: usize,
    },
}

const FORMS: &str = "link=RANK.PLANE, link=RANK-RANK (full mesh), switch=NODE.PLANE, uplink=NODE.PLANE, \
                     core-switch=PLANE, plane=PLANE, node=NODE or rank=RANK, each with @SHARE for what is left of its rate";

impl FromStr for FabricFault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("give {FORMS}");
        let (part, left) = match text.split_once('@') {
            Some((part, left)) => (part, left.parse::<f64>().map_err(|_| wrong())?),
            None => (text, 0.0),
        };
        if !(0.0..=1.0).contains(&left) {
            return Err("give a share from 0 (down) to 1 (whole) after @".to_owned());
        }
        let (kind, place) = part.split_once('=').ok_or_else(wrong)?;
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| wrong());
        // A fabric of one plane needs no plane number.
        let pair = || -> Result<(usize, usize), String> {
            match place.split_once('.') {
                Some((first, second)) => Ok((number(first)?, number(second)?)),
                None => Ok((number(place)?, 0)),
            }
        };
        let broken = match kind.trim() {
            "link" => match place.split_once('-') {
                Some((from, to)) => {
                    let (from, to) = (number(from)?, number(to)?);
                    Broken::Direct { from: from.min(to), to: from.max(to) }
                }
                None => pair().map(|(rank, plane)| Broken::Link { rank, plane })?,
            },
            "switch" => pair().map(|(node, plane)| Broken::Switch { node, plane })?,
            "uplink" => pair().map(|(node, plane)| Broken::Uplink { node, plane })?,
            "core-switch" => Broken::CoreSwitch { plane: number(place)? },
            "plane" => Broken::Plane { plane: number(place)? },
            "node" => Broken::Node { node: number(place)? },
            "rank" => Broken::Rank { rank: number(place)? },
            _ => return Err(wrong()),
        };
        Ok(Self { broken, left })
    }
}

impl fmt::Display for FabricFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.broken {
            Broken::Link { rank, plane } => write!(f, "link of rank {rank} to plane {plane}"),
            Broken::Switch { node, plane } => write!(f, "switch of node {node} in plane {plane}"),
            Broken::Uplink { node, plane } => write!(f, "uplink of node {node} in plane {plane}"),
            Broken::CoreSwitch { plane } => write!(f, "core switch of plane {plane}"),
            Broken::Plane { plane } => write!(f, "plane {plane}"),
            Broken::Node { node } => write!(f, "node {node}"),
            Broken::Rank { rank } => write!(f, "rank {rank}"),
            Broken::Direct { from, to } => write!(f, "link between {from} and {to}"),
        }?;
        if self.left == 0.0 { f.write_str(" down") } else { write!(f, " at {:.0} %", self.left * 100.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_fault_is_read_and_named() {
        for (text, shown) in [
            ("link=3.2", "link of rank 3 to plane 2 down"),
            ("link=3", "link of rank 3 to plane 0 down"),
            ("link=3.2@0.5", "link of rank 3 to plane 2 at 50 %"),
            ("link=9-3", "link between 3 and 9 down"),
            ("switch=1.6", "switch of node 1 in plane 6 down"),
            ("uplink=1.6@0.25", "uplink of node 1 in plane 6 at 25 %"),
            ("core-switch=4", "core switch of plane 4 down"),
            ("plane=0", "plane 0 down"),
            ("node=47", "node 47 down"),
            ("rank=5", "rank 5 down"),
        ] {
            assert_eq!(text.parse::<FabricFault>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_fault_is_refused_with_the_forms_that_are() {
        for text in
            ["", "link", "link=", "link=x", "link=1.y", "plane=-1", "cable=1", "plane=1@2", "plane=1@nan", "node=1@"]
        {
            let reason = text.parse::<FabricFault>().unwrap_err();
            assert!(reason.starts_with("give") && !reason.contains('\n'), "{text}: {reason}");
        }
    }
}
