// Copyright: connsec.tls contributors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

import java.io.IOException;
import java.io.Reader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardCopyOption;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;

/**
 * An application of a time before TLS 1.3: it asks its database over JDBC, eighty times in a session, and reads its
 * properties once. What it counts outlives it, in a file beside its properties.
 */
public final class Ledger {
    private static final int REQUESTS = 80;
    private static final int PAUSE_MS = 50;

    public static void main(String[] arguments) throws IOException, InterruptedException {
        Properties options = read(Paths.get(arguments[0]));
        if (options.getProperty("trustStore") != null) {
            System.setProperty("javax.net.ssl.trustStore", options.getProperty("trustStore"));
        }
        Path file = Paths.get(arguments[0] + ".counts");
        Properties before = Files.exists(file) ? read(file) : new Properties();
        long answered = Long.parseLong(before.getProperty("answered", "0"));
        long lost = Long.parseLong(before.getProperty("lost", "0"));
        String why = before.getProperty("why", "");
        while (true) {
            try (Connection session = DriverManager.getConnection(options.getProperty("url"), options);
                    Statement statement = session.createStatement()) {
                for (int each = 0; each < REQUESTS; each++) {
                    statement.execute("select 1");
                    answered++;
                    Thread.sleep(PAUSE_MS);
                }
            } catch (SQLException error) {
                lost++;
                why = error + " / " + error.getCause();
                Thread.sleep(PAUSE_MS);
            }
            write(file, answered, lost, why);
        }
    }

    private static Properties read(Path file) throws IOException {
        Properties found = new Properties();
        try (Reader reader = Files.newBufferedReader(file)) {
            found.load(reader);
        }
        return found;
    }

    private static void write(Path file, long answered, long lost, String why) throws IOException {
        Path fresh = Paths.get(file + ".new");
        String said = why.replaceAll("\\s+", " ");
        Files.write(fresh, String.format("answered=%d%nlost=%d%nwhy=%s%n", answered, lost, said).getBytes());
        Files.move(fresh, file, StandardCopyOption.ATOMIC_MOVE);
    }
}
