//! Which part of a sweep a task computes: by `--shard`, or by the job array of Slurm that it is a task of.

use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Part `number` of `count`, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shard {
    /// Which one.
    pub(super) number: u32,
    /// Of how many.
    pub(super) count: u32,
}

impl Shard {
    /// The whole sweep.
    pub(super) const WHOLE: Self = Self { number: 1, count: 1 };

    /// The shard of a task of a job array; `None` outside of one. `variable` looks up an environment variable.
    ///
    /// # Errors
    /// One line: an array whose tasks are not numbered 0 to N - 1 or 1 to N. A gap would be a shard that nobody computes,
    /// and a part of an array, submitted again, would be taken for a whole.
    pub(super) fn of_job_array(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        if variable("SLURM_ARRAY_TASK_ID").is_none() {
            return Ok(None);
        }
        let read = |name: &str| -> Result<u32, String> {
            let name = format!("SLURM_ARRAY_TASK_{name}");
            let text = variable(&name).ok_or_else(|| format!("a job array without {name}; give --shard i/n"))?;
            text.parse().map_err(|_| format!("{name} is `{text}`, which is no number; give --shard i/n"))
        };
        let (id, least, most, count) = (read("ID")?, read("MIN")?, read("MAX")?, read("COUNT")?);
        let remedy = "submit --array=1-N, or give --shard i/n";
        if u64::from(most) + 1 != u64::from(least) + u64::from(count) {
            return Err(format!(
                "the ids of the job array are not contiguous: {count} of them from {least} to {most}; {remedy}"
            ));
        }
        if least > 1 {
            return Err(format!("the ids of the job array begin at {least}, not at 0 or 1; {remedy}"));
        }
        if !(least..=most).contains(&id) {
            return Err(format!("task {id} is not among the ids {least} to {most} of its job array; give --shard i/n"));
        }
        Ok(Some(Self { number: id - least + 1, count }))
    }

    /// The output of this shard, where all tasks of an array are given the same one: `part.parquet` of shard 3/4 becomes
    /// `part-003-of-004.parquet`. More digits where there are more shards, so that names sort as the shards do.
    pub(super) fn output(self, given: &Path) -> PathBuf {
        let digits = self.count.to_string().len().max(3);
        let mut name = given.file_stem().unwrap_or_default().to_owned();
        name.push(format!("-{:0digits$}-of-{:0digits$}", self.number, self.count));
        if let Some(extension) = given.extension() {
            name.push(".");
            name.push(extension);
        }
        given.with_file_name(name)
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(number, count)| Some((number.parse().ok()?, count.parse().ok()?)));
        match parts {
            Some((number, count)) if (1..=count).contains(&number) => Ok(Self { number, count }),
            _ => Err("give i/n with i from 1 to n, e.g. 3/16".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(id: &str, least: &str, most: &str, count: &str) -> Result<Option<Shard>, String> {
        let values = [("ID", id), ("MIN", least), ("MAX", most), ("COUNT", count)];
        Shard::of_job_array(|name| {
            let (_, value) = values.iter().find(|(end, _)| name == format!("SLURM_ARRAY_TASK_{end}"))?;
            (!value.is_empty()).then(|| (*value).to_owned())
        })
    }

    #[test]
    fn a_task_of_an_array_is_a_shard_wherever_the_ids_begin() {
        assert_eq!(of("3", "1", "4", "4"), Ok(Some(Shard { number: 3, count: 4 })));
        assert_eq!(of("0", "0", "7", "8"), Ok(Some(Shard { number: 1, count: 8 })));
        assert_eq!(of("1", "1", "1", "1"), Ok(Some(Shard::WHOLE)));
        assert_eq!(of("", "", "", ""), Ok(None));
    }

    #[test]
    fn an_array_that_would_leave_a_shard_out_is_refused() {
        for ((id, least, most, count), expected) in [
            (("1", "1", "7", "3"), "not contiguous: 3 of them from 1 to 7"),
            (("2", "0", "6", "4"), "not contiguous: 4 of them from 0 to 6"),
            (("3", "3", "3", "1"), "begin at 3"),
            (("5", "1", "4", "4"), "task 5 is not among"),
            (("x", "1", "4", "4"), "SLURM_ARRAY_TASK_ID is `x`"),
            (("1", "", "4", "4"), "without SLURM_ARRAY_TASK_MIN"),
            (("0", "0", "4294967295", "4294967295"), "not contiguous"),
        ] {
            let refused = of(id, least, most, count).unwrap_err();
            assert!(refused.contains(expected) && refused.contains("--shard"), "{refused}");
        }
    }

    #[test]
    fn names_of_shards_sort_as_the_shards_do() {
        let name = |number, count, given: &str| Shard { number, count }.output(Path::new(given)).display().to_string();
        assert_eq!(name(3, 4, "out/part.parquet"), "out/part-003-of-004.parquet");
        assert_eq!(name(12, 20_000, "part"), "part-00012-of-20000");
        assert!(name(9, 1000, "a.csv") < name(10, 1000, "a.csv"));
    }
}
