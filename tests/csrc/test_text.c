/* Text is cut where the buffer ends, and a number has one spelling. */
#include "base/text.h"

#include "check.h"

static void what_does_not_fit_is_dropped_and_told(void)
{
	char buf[4];
	struct text t = TEXT_IN(buf);

	text_add(&t, "abcdef");
	CHECK(t.cut && t.len == 4);
	CHECK_TEXT(text_end(&t), "abc");
}

static void json_strings_have_no_raw_control_or_quote(void)
{
	char buf[64];
	struct text t = TEXT_IN(buf);

	text_add_json(&t, "a\"b\\c\n\x7f\xc3");
	CHECK_TEXT(text_end(&t), "a\\\"b\\\\c\\u000a\\u007f\\u00c3");
}

static void numbers_are_printed_to_their_ends(void)
{
	char buf[64];
	struct text t = TEXT_IN(buf);

	text_add_number(&t, INT64_MIN);
	text_add(&t, " ");
	text_add_number(&t, INT64_MAX);
	text_add(&t, " ");
	text_add_number(&t, 0);
	CHECK_TEXT(text_end(&t), "-9223372036854775808 9223372036854775807 0");
}

static void decimals_have_one_spelling(void)
{
	const char *const bad[] = { "",
				    "00",
				    "01",
				    "-1",
				    "+1",
				    " 1",
				    "1 ",
				    "a",
				    "1a",
				    "256",
				    "18446744073709551616",
				    "99999999999999999999999" };
	uint64_t n;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct span span = exact(bad[i]);

		CHECK(!parse_decimal(span, 255, &n));
		free((void *)(uintptr_t)span.data);
	}
	CHECK(parse_decimal((struct span){ "255", 3 }, 255, &n) && n == 255);
	CHECK(parse_decimal((struct span){ "0", 1 }, 255, &n) && n == 0);
	CHECK(parse_decimal((struct span){ "18446744073709551615", 20 }, UINT64_MAX, &n));
}

static void a_line_ends_in_a_newline_and_a_part_need_not(void)
{
	struct span rest = { "a,b", 3 };
	struct span part;

	CHECK(span_next(&rest, ',', &part) && span_equals(part, "a"));
	CHECK(span_next(&rest, ',', &part) && span_equals(part, "b"));
	CHECK(!span_next(&rest, ',', &part));
	rest = (struct span){ "x\ny", 3 };
	CHECK(span_ended(&rest, '\n', &part) && span_equals(part, "x"));
	CHECK(!span_ended(&rest, '\n', &part) && span_equals(rest, "y"));
}

static void equality_stops_at_the_shorter_one(void)
{
	struct span span = exact("user");

	CHECK(span_equals(span, "user"));
	CHECK(!span_equals(span, "use") && !span_equals(span, "users") && !span_equals(span, ""));
	free((void *)(uintptr_t)span.data);
}

int main(void)
{
	what_does_not_fit_is_dropped_and_told();
	json_strings_have_no_raw_control_or_quote();
	numbers_are_printed_to_their_ends();
	decimals_have_one_spelling();
	a_line_ends_in_a_newline_and_a_part_need_not();
	equality_stops_at_the_shorter_one();
	return 0;
}
