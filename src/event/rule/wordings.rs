//! The wordings, in order of precedence: the first that occurs in a message decides.
//!
//! Patterns are matched against the message in lower case. They are ASCII where they can be (`[0-9]`, no `\w`, no `\b`), so
//! that the automaton stays small. `$1` and `$2` of a rule are read from the pattern's groups; groups that are not
//! read do not capture.

/// A number in a message: at most 18 digits, so that no message can make up endless rules.
macro_rules! n {
    () => {
        "(-?[0-9][0-9,]{0,17}(?:\\.[0-9]{1,6})?)"
    };
}

/// Names of types as validators write them.
macro_rules! t {
    () => {
        "(string|str|text|integer|int|bigint|number|numeric string|float|decimal|double|boolean|bool|list|array|tuple|set|dictionary|dict|object|record|map|mapping|hash|null|date|function|file|bytes|pk|key)"
    };
}

macro_rules! characters {
    () => {
        " ?(?:character|char|letter|zeichen|symbol)"
    };
}

macro_rules! items {
    () => {
        " ?(?:element|item|entr|value|row|einträge|elemente)"
    };
}

/// Pattern and rule.
pub(super) const WORDINGS: &[(&str, &str)] = &[
    // Passwords: "must contain at least one digit" is no number of items.
    ("at least (?:one|1|an?) (?:upper|lower|digit|number|special|symbol|letter|non)", "weak"),
    ("too common|entirely numeric|too similar|too weak|strong enough|easily guessed|zu häufig|zu ähnlich", "weak"),
    // Length of texts.
    (concat!("between ", n!(), " and ", n!(), characters!()), "length_between($1,$2)"),
    (concat!("size must be between ", n!(), " and ", n!()), "length_between($1,$2)"),
    (
        concat!(
            "(?:at least|minimum is|minimum of|fewer than|not be (?:shorter|less) than|mindestens|>= ?|",
            "(?:longer|greater|more) than or equal to) ?",
            n!(),
            characters!()
        ),
        "min_length($1)",
    ),
    (
        concat!(
            "(?:no more than|at most|maximum is|maximum of|not (?:be|have) (?:greater|longer|more) than|no longer than|up to|",
            "(?:shorter|less) than or equal to|nicht mehr als|höchstens|maximal|<= ?) ?",
            n!(),
            characters!()
        ),
        "max_length($1)",
    ),
    (concat!("(?:exactly|should be|must be|length of|genau) ", n!(), characters!()), "length($1)"),
    // Length of lists.
    (concat!("(?:at least|minimum is|fewer than|less than|mindestens|>= ?) ?", n!(), items!()), "min_items($1)"),
    (
        concat!(
            "(?:no more than|at most|maximum is|have more than|contain more than|nicht mehr als|höchstens|maximal|<= ?) ?",
            n!(),
            items!()
        ),
        "max_items($1)",
    ),
    (
        "(?:list|array|dictionary|liste|dictionary) (?:may|must|can|should|darf) ?(?:not|nicht) ?(?:be empty|leer sein)",
        "min_items(1)",
    ),
    // Digits of numbers.
    (
        concat!("(?:no more than|at most|nicht mehr als) ", n!(), " (?:decimal place|decimal|nachkommastelle)"),
        "max_decimals($1)",
    ),
    (concat!("(?:no more than|at most|nicht mehr als) ", n!(), " (?:digit|ziffer|stelle)"), "max_digits($1)"),
    // Types. Before `required`: "A valid integer is required" is about the type.
    (concat!("(?:not an?|a|an|be a|be an) valid ", t!(), "(?:$|[^a-z0-9])"), "invalid_type($1)"),
    ("received (?:undefined|nothing)", "required"),
    ("received null", "null"),
    (concat!("expected (?:an? )?", t!(), "(?: value)?(?: of items)?,? (?:but )?(?:got|received)"), "invalid_type($1)"),
    (concat!("is not of type '?\"?", t!()), "invalid_type($1)"),
    (concat!("(?:is not|isn't) an? ", t!(), "(?:$|[^a-z0-9])"), "invalid_type($1)"),
    ("gültige (ganzzahl|zahl)", "invalid_type($1)"),
    ("gültiger (wahrheitswert|string)", "invalid_type($1)"),
    ("keine? gültige[rs]? (string|zeichenkette|wahrheitswert|liste)", "invalid_type($1)"),
    ("(dictionary|liste|pk|string)(?:[- ]wert)?,? erwartet", "invalid_type($1)"),
    ("erwarte(?:te)? eine? (liste|dictionary)", "invalid_type($1)"),
    (
        concat!("must be (?:of type )?(?:an? )?", t!(), "(?:$|[^a-z0-9_ ]| value| number| conforming| or | in )"),
        "invalid_type($1)",
    ),
    // Presence.
    ("authentication (?:is )?required|credentials were not provided", "credentials"),
    ("null or undefined", "required"),
    (
        "^required[.!]?$|field required|is required|are required|is missing|missing required|required propert|no data provided",
        "required",
    ),
    (
        "(?:be|was|were) provided|not provided|must be present|must be set|is a required|required (?:field|value|parameter)",
        "required",
    ),
    ("zwingend erforderlich|ist erforderlich|pflichtfeld|wird benötigt|wurden keine daten", "required"),
    ("(?:be|is) null|nicht null sein|none is not an allowed value|null value", "null"),
    ("(?:be|is) (?:left )?blank|nicht leer sein|(?:be|is) (?:an )?empty|to be empty", "blank"),
    // Choices.
    (
        "valid choice|keine gültige (?:option|auswahl)|invalid enum|expected one of|be (?:equal to )?one of|(?:is|are) not one of",
        "invalid_choice",
    ),
    (
        "not included in the list|is reserved|the selected .{0,60}is invalid|valid enum value|input should be ['\"]|accepted values",
        "invalid_choice",
    ),
    (
        "^invalid (?:choice|option|status)|^invalid [a-z0-9 _-]{1,40} (?:type|value|choice|option|status)[.!]?$|(?:value|type|option) (?:is )?not allowed",
        "invalid_choice",
    ),
    // Format. Before `mismatch`: a pattern is matched too.
    ("null characters|null-?zeichen|nullzeichen", "invalid_format"),
    (
        "invalid (?:[a-z0-9 -]{0,30} )?format|wrong format|falsche format|ungültiges format|incorrect format|malformed|not well[- ]formed|well-formed",
        "invalid_format",
    ),
    (
        "valid (?:[a-z0-9]{1,12} )?(?:e-?mail|url|uri|uuid|guid|ulid|date|time|duration|ip|phone|json|slug|hostname|host|domain|color|colour|iso|timezone|regex|base64|hex|cuid|mongo)",
        "invalid_format",
    ),
    ("gültige (?:e-?mail|url|uuid|ip|telefon)|gültiges datum|gültige uhrzeit", "invalid_format"),
    ("be an? (?:e-?mail|url|uri|uuid|ip address|phone number|date|mongodb id|iso|jwt|json string)", "invalid_format"),
    (
        "match (?:the )?(?:required |following )?(?:pattern|format|regex|exactly)|match (?:the )?[\"'/^]|erforderlichen muster|required pattern",
        "invalid_format",
    ),
    (
        "may only contain|must (?:only contain|contain only|start with|end with|include)|should (?:start|end) with|(?:is|are) not a '",
        "invalid_format",
    ),
    ("unable to parse|could not be parsed|cannot be parsed|parse error|not valid json", "invalid_format"),
    // Uniqueness and state.
    (
        "already exists?|already (?:been )?taken|be unique|unique set|unique constraint|duplicate|duplikat|has non-unique",
        "unique",
    ),
    (
        "already (?:in use|registered|used|connected|assigned|linked|a member)|eindeutige menge|existiert bereits|eindeutig sein|bereits vergeben",
        "unique",
    ),
    ("already |is locked|cannot be (?:deleted|removed|cancelled|modified)|conflict|was modified|bereits ", "conflict"),
    // References.
    (
        "belongs? to (?:you|your|another|a different|someone)|not your|not owned|you do not own|you don't own|gehört (?:dir |ihnen )?nicht",
        "not_owned",
    ),
    (
        "(?:does not|doesn't|do not|don't) exist|not found|could not find|no such|existiert nicht|nicht gefunden|must exist|no pending|no longer exists",
        "not_found",
    ),
    // Range of numbers.
    (
        "must be positive|positive (?:number|integer|value|amount|decimal)|(?:greater|more|larger|größer|höher) (?:than|als) (?:0|zero|null)(?:\\.0{1,6})?(?:$|[^0-9.]|\\.$|\\. )",
        "positive",
    ),
    (concat!("between ", n!(), " and ", n!()), "between($1,$2)"),
    (concat!("zwischen ", n!(), " und ", n!()), "between($1,$2)"),
    (concat!("multiple of ", n!()), "multiple_of($1)"),
    (
        concat!(
            "(?:(?:greater|more|larger|bigger) than or equal to|at least|(?:not|no) (?:be )?(?:less|smaller|lower) than|minimum (?:value )?(?:is|of)|",
            "größer oder gleich|mindestens|>= ?|less than the minimum of) ?",
            n!()
        ),
        "min_value($1)",
    ),
    (
        concat!(
            "(?:(?:less|smaller|lower|fewer) than or equal to|at most|(?:not|no) (?:be )?(?:greater|more|larger|bigger|higher) than|",
            "maximum (?:value )?(?:is|of)|kleiner oder gleich|höchstens|nicht mehr als|<= ?|greater than the maximum of) ?",
            n!()
        ),
        "max_value($1)",
    ),
    (concat!("(?:be ", n!(), " or (?:more|greater|higher|above))"), "min_value($1)"),
    (concat!("(?:be ", n!(), " or (?:less|fewer|lower|below))"), "max_value($1)"),
    (concat!("(?:(?:greater|more|larger) than|größer als|> ?) ?", n!()), "greater_than($1)"),
    (concat!("(?:(?:less|smaller|fewer) than|kleiner als|< ?) ?", n!()), "less_than($1)"),
    ("too short|zu kurz", "min_length"),
    ("too long|zu lang", "max_length"),
    ("too small|too low|zu klein", "min_value"),
    ("too big|too large|too high|zu groß", "max_value"),
    // Must not be sent.
    (
        "extra (?:inputs|fields)|unrecognized key|additional propert|unknown (?:field|parameter|argument|attribute|key|property)",
        "unknown_field",
    ),
    (
        "should not exist|unexpected (?:field|property|key|parameter)|unpermitted parameter|is not allowed[.]?$",
        "unknown_field",
    ),
    (
        "read[- ]?only|cannot be (?:set|changed|updated|edited)|(?:may|must) not be (?:changed|set)|nur lesbar",
        "read_only",
    ),
    // Who, when, how often, how much.
    ("rate limit|too many (?:requests|attempts)|throttled|gedrosselt|zu viele anfragen", "rate_limited"),
    ("expired|abgelaufen|no longer valid", "expired"),
    (
        "invalid credentials|(?:incorrect|wrong|invalid) (?:username|user name|password|login|api key|token|e-?mail or)|unable to (?:log|sign) in|no active account",
        "credentials",
    ),
    (
        "permission|not allowed to|not authori[sz]ed|forbidden|(?:not|no) (?:have )?access|access denied|berechtigung|keinen zugriff",
        "permission",
    ),
    ("insufficient|not enough|exceeds (?:your|the) |quota exceeded|nicht genügend|nicht ausreichend", "insufficient"),
    // Agreement with another value.
    (
        "must belong to|(?:do|does) not (?:match|agree)|(?:don't|doesn't) match|didn't match|must match|nicht überein|be the same|not equal|be equal to",
        "mismatch",
    ),
    // Refused without saying why.
    ("invalid|not valid|valid value|isn't valid|ungültig|incorrect|not acceptable", "invalid"),
];
