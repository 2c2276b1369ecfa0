/*
 * delivery.h - hands a mail over on a connection that libcurl has made: greeting, EHLO, STARTTLS and login are over.
 *
 * Only for the rooms of http/fetching.h, which own the handle, the time and the end. Called from the thread that runs
 * the loop.
 */
#ifndef PL_MAIL_DELIVERY_H
#define PL_MAIL_DELIVERY_H

#include "base/curl.h"

#include "mail/smtp.h"

struct uv_loop_s;
typedef struct pl__delivery pl__delivery_t;

/*
 * Begins to talk. `easy` is borrowed until pl__delivery_close, and must stay in its multi handle; addresses are as
 * long. From callbacks of the loop `news(data)` tells that something was sent, or came, or that it is over; it may
 * close. Returns PL_OK, or PL_ENOMEM, PL_EINVAL, PL_ECONNRESET: then there is nothing to close.
 */
int pl__delivery_open(pl__delivery_t **delivery, struct uv_loop_s *loop, CURL *easy, pl_str_t from, pl_str_t to,
                      pl_str_t message, void (*news)(void *data), void *data, pl_error_t *error) PL__MUST_USE;
/* Where the dialog stands. Borrowed until it is closed. */
const pl__smtp_t *pl__delivery_dialog(const pl__delivery_t *delivery);
/* Lets go of the connection. The memory is freed from the loop. */
void pl__delivery_close(pl__delivery_t *delivery);

#endif
