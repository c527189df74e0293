/* Orthanc's web server, by itself: it serves one page, and is asked for it. */
#include <stdio.h>
#include <string.h>

#include "civetweb.h"

static int page(struct mg_connection *connection, void *data) {
  (void)data;
  mg_send_http_ok(connection, "text/plain", 5);
  mg_write(connection, "hello", 5);
  return 200;
}

int main(void) {
  const char *options[] = {"listening_ports", "127.0.0.1:0", "num_threads", "2", NULL};
  struct mg_callbacks callbacks;
  struct mg_server_port port;
  char error[256] = "", body[16] = "";
  memset(&callbacks, 0, sizeof(callbacks));
  mg_init_library(MG_FEATURES_TLS);
  struct mg_context *server = mg_start(&callbacks, NULL, options);
  if (server == NULL || mg_get_server_ports(server, 1, &port) != 1) return 1;
  mg_set_request_handler(server, "/", page, NULL);
  struct mg_connection *client = mg_download(
      "127.0.0.1", port.port, 0, error, sizeof(error), "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n");
  if (client == NULL) return fprintf(stderr, "%s\n", error), 1;
  mg_read(client, body, sizeof(body) - 1);
  mg_close_connection(client);
  mg_stop(server);
  mg_exit_library();
  printf("civetweb %s, %zu-bit: %s\n", mg_version(), 8 * sizeof(void *), body);
  return strcmp(body, "hello") != 0;
}
