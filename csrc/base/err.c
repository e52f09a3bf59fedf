/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

int err_set_span(struct err *err, const char *operation, struct span subject, long ret)
{
	struct text t = TEXT_IN(err->subject);

	err->operation = operation;
	err->errnum = (int)(ret < 0 ? -ret : ret);
	text_add_span(&t, subject);
	text_end(&t);
	return -1;
}

int err_set(struct err *err, const char *operation, const char *subject, long ret)
{
	struct span span = span_of(subject);

	return err_set_span(err, operation, span, ret);
}
