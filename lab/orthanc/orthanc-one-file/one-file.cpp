/* A file of Orthanc's own C++ at work: what ZlibCompressor packs it unpacks again, and what is too
 * short for that it refuses with Orthanc's own exception. */
#include <iostream>
#include <string>

#include "Compression/ZlibCompressor.h"
#include "OrthancException.h"

/* It is in Enumerations.cpp, which would bring half of the framework with it. */
Orthanc::HttpStatus Orthanc::ConvertErrorCodeToHttpStatus(ErrorCode) {
  return HttpStatus_500_InternalServerError;
}

int main() {
  std::string text, packed, unpacked;
  for (int i = 0; i < 1000; i++) text += "0123456789";

  Orthanc::ZlibCompressor zlib;
  zlib.Compress(packed, text.data(), text.size());
  zlib.Uncompress(unpacked, packed.data(), packed.size());
  std::cout << "ZlibCompressor, " << 8 * sizeof(void *) << "-bit: " << text.size() << " bytes in "
            << packed.size() << std::endl;

  bool refused = false;
  try {
    zlib.Uncompress(text, packed.data(), 5);
  } catch (const Orthanc::OrthancException &error) {
    refused = error.GetErrorCode() == Orthanc::ErrorCode_CorruptedFile;
  }
  return unpacked == text && packed.size() < 200 && refused ? 0 : 1;
}
