//! "Did you mean": the known word that is nearest to an unknown one.

/// The nearest of `known` to `word`, when it is near enough to be a slip: at most a third of the letters differ.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let distance = |known: &str| strsim::damerau_levenshtein(&lower, &known.to_lowercase());
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|known| (distance(known), known))
        .filter(|(distance, known)| *distance <= limit && *distance < known.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_slips_and_nothing_else() {
        let known = ["within", "wait_for", "find", "on", "as"];
        assert_eq!(nearest("wihtin", known), Some("within"));
        assert_eq!(nearest("waitfor", known), Some("wait_for"));
        assert_eq!(nearest("Find", known), Some("find"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("x", ["a"]), None);
    }
}
