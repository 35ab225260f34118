#include <wsproxy/wsproxy.hpp>

#include <iostream>

int main() {
  std::cout << wsproxy::version() << '\n';
}
