//! Whether the encode processes of a channel can make equal bytes at all.

use crate::encode::ipc::Hello;
use crate::media::PipelineId;

/// Remembers what was said, so that one difference is told once, however often a process starts.
#[derive(Debug, Default)]
pub(super) struct Unlike {
    told: Option<String>,
}

impl Unlike {
    /// What to tell, if there is news; `running` are the processes that have said hello.
    pub fn news(&mut self, running: &[(PipelineId, &Hello)]) -> Option<String> {
        let [(a, ours), (b, theirs)] = running else { return None };
        let names = [a, b].map(|id| format!("pipeline {id}"));
        let differs = ours.unlike(theirs, [&names[0], &names[1]]);
        if differs == self.told {
            return None;
        }
        self.told = differs;
        let differences = self.told.as_ref()?;
        Some(format!("A and B cannot be expected to make equal bytes: {differences}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told_once_and_again_when_it_comes_back() {
        let (a, b) = (PipelineId::A, PipelineId::B);
        let avx2 = Hello { simd: "avx2".to_owned(), ..Hello::default() };
        let sse = Hello { simd: "sse4.2".to_owned(), ..Hello::default() };
        let mut unlike = Unlike::default();
        assert_eq!(unlike.news(&[(a, &avx2)]), None, "alone");
        assert_eq!(unlike.news(&[(a, &avx2), (b, &avx2)]), None, "alike");
        let text = unlike.news(&[(a, &avx2), (b, &sse)]).expect("they differ");
        assert!(text.ends_with("instructions: pipeline a avx2, pipeline b sse4.2"), "{text}");
        assert_eq!(unlike.news(&[(a, &avx2), (b, &sse)]), None, "told already");
        assert_eq!(unlike.news(&[(a, &avx2)]), None, "B starts again");
        assert_eq!(unlike.news(&[(a, &avx2), (b, &sse)]), None, "as it was");
        assert_eq!(unlike.news(&[(a, &avx2), (b, &avx2)]), None, "another host");
        assert!(unlike.news(&[(a, &avx2), (b, &sse)]).is_some(), "and back");
    }
}
