//! Machine-readable codes of validators → rule.

use crate::event::body::MAX_CODE;

/// Rule, and the codes that mean it: of Django REST Framework, Rails, GitHub, Bean Validation, Joi, pydantic 1 and 2, zod,
/// Ajv, class-validator and Stripe.
const CODES: &[(&str, &[&str])] = &[
    (
        "required",
        &[
            "required",
            "missing",
            "valueerrormissing",
            "anyrequired",
            "missingfield",
            "parametermissing",
            "notprovided",
            "isdefined",
            "missingrequired",
            "missingrequiredfield",
            "missingparameter",
        ],
    ),
    ("blank", &["blank", "empty", "notblank", "notempty", "isnotempty", "stringempty", "parameterinvalidempty"]),
    ("null", &["null", "notnull", "nonenotallowed", "isnull", "typeerrornonenotallowed"]),
    (
        "unique",
        &[
            "unique",
            "taken",
            "alreadyexists",
            "duplicate",
            "uniqueitems",
            "uniquetogether",
            "resourcealreadyexists",
            "conflictunique",
        ],
    ),
    (
        "invalid_choice",
        &[
            "invalidchoice",
            "enum",
            "inclusion",
            "exclusion",
            "anyonly",
            "invalidenumvalue",
            "literalerror",
            "isenum",
            "isin",
            "invalidoption",
            "typeerrorenum",
            "valueerrorconst",
            "const",
            "invalidliteral",
        ],
    ),
    ("not_found", &["doesnotexist", "notfound", "resourcemissing", "objectnotfound"]),
    (
        "min_length",
        &["stringtooshort", "minlength", "tooshort", "stringmin", "valueerroranystrminlength", "passwordtooshort"],
    ),
    ("max_length", &["stringtoolong", "maxlength", "toolong", "stringmax", "valueerroranystrmaxlength"]),
    (
        "min_value",
        &[
            "minvalue",
            "min",
            "minimum",
            "greaterthanequal",
            "numbermin",
            "valueerrornumbernotge",
            "greaterthanorequalto",
        ],
    ),
    (
        "max_value",
        &["maxvalue", "max", "maximum", "lessthanequal", "numbermax", "valueerrornumbernotle", "lessthanorequalto"],
    ),
    ("positive", &["positive", "ispositive", "numberpositive"]),
    ("min_items", &["minitems", "arraymin", "arrayminsize", "valueerrorlistminitems"]),
    ("max_items", &["maxitems", "arraymax", "arraymaxsize", "valueerrorlistmaxitems"]),
    ("max_digits", &["maxdigits", "decimalmaxdigits"]),
    ("max_decimals", &["maxdecimalplaces", "decimalmaxplaces"]),
    ("invalid_type(string)", &["stringtype", "stringbase", "isstring", "typeerrorstr"]),
    (
        "invalid_type(integer)",
        &["inttype", "intparsing", "intfromfloat", "isint", "numberinteger", "typeerrorinteger", "notaninteger"],
    ),
    (
        "invalid_type(number)",
        &[
            "floattype",
            "floatparsing",
            "decimaltype",
            "decimalparsing",
            "numberbase",
            "isnumber",
            "typeerrorfloat",
            "notanumber",
        ],
    ),
    ("invalid_type(boolean)", &["booltype", "boolparsing", "booleanbase", "isboolean", "valueerrorboolean"]),
    ("invalid_type(list)", &["listtype", "arraybase", "isarray", "notalist", "typeerrorlist"]),
    ("invalid_type(object)", &["dicttype", "objectbase", "isobject", "notadict", "typeerrordict", "modeltype"]),
    ("invalid_type", &["type", "invalidtype", "incorrecttype", "typemismatch"]),
    (
        "invalid_format",
        &[
            "format",
            "pattern",
            "email",
            "url",
            "uuid",
            "isemail",
            "isurl",
            "isuuid",
            "stringemail",
            "invalidstring",
            "stringpatternmismatch",
            "stringpatternbase",
            "invalidformat",
            "uuidparsing",
            "dateparsing",
            "datetimeparsing",
            "datefromdatetimeparsing",
            "urlparsing",
            "valueerroremail",
            "invaliddate",
            "matches",
            "isdatestring",
            "invalidemail",
            "invalidurl",
            "jsoninvalid",
            "nullcharactersnotallowed",
        ],
    ),
    (
        "unknown_field",
        &[
            "extraforbidden",
            "valueerrorextra",
            "unrecognizedkeys",
            "additionalproperties",
            "objectunknown",
            "whitelistvalidation",
            "parameterunknown",
            "unknownfield",
        ],
    ),
    ("read_only", &["readonly"]),
    ("mismatch", &["confirmation", "mismatch", "passwordmismatch"]),
    ("permission", &["permissiondenied", "forbidden", "notauthorized"]),
    ("rate_limited", &["throttled", "ratelimited", "ratelimit", "ratelimitexceeded"]),
    ("credentials", &["invalidcredentials", "authenticationfailed", "notauthenticated", "invalidapikey"]),
    ("expired", &["expired", "tokenexpired"]),
    ("insufficient", &["insufficientfunds", "insufficientcredits", "insufficientquota"]),
    ("weak", &["passwordtoocommon", "passwordentirelynumeric", "passwordtoosimilar"]),
    ("invalid", &["invalid", "custom", "valueerror"]),
];

/// The rule a code names; `None` where it names none for sure.
///
/// Codes are compared without case and separators: `value_error.missing`, `ValueErrorMissing` and `VALUE-ERROR-MISSING` are
/// one. A code says no limits, so `string_too_short` is `min_length`.
pub(super) fn rule(code: &str) -> Option<&'static str> {
    if code.is_empty() || code.len() > MAX_CODE {
        return None;
    }
    let squashed: String =
        code.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    CODES.iter().find(|(_, codes)| codes.contains(&squashed.as_str())).map(|(rule, _)| *rule)
}
