// Copyright: connsec.tls contributors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

import java.io.IOException;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardCopyOption;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Locale;
import java.util.Properties;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * An application of a time before TLS 1.3: it asks its database over JDBC, eighty times in a session, and reads its
 * properties once. What it counts outlives it, in tally.json beside its properties, in the form of load.py.
 */
public final class Ledger {
    private static final int REQUESTS = 80;
    private static final int PAUSE_MS = 50;
    private static final int NOTED_EVERY = 10;

    private final Properties options;
    private final Path file;
    private long answered;
    private long lost;
    private long longestGap;
    private long lastAnswer;
    private String said = "";

    private Ledger(Path place) throws IOException {
        options = new Properties();
        try (Reader reader = Files.newBufferedReader(place)) {
            options.load(reader);
        }
        file = place.resolveSibling("tally.json");
        if (Files.exists(file)) {
            String before = new String(Files.readAllBytes(file), StandardCharsets.UTF_8);
            answered = noted(before, "answered");
            lost = noted(before, "lost");
            longestGap = noted(before, "longest_gap_ms");
            lastAnswer = Files.getLastModifiedTime(file).toMillis();
        }
    }

    public static void main(String[] arguments) throws IOException, InterruptedException {
        new Ledger(Paths.get(arguments[0])).ask(arguments[1]);
    }

    private void ask(String id) throws IOException, InterruptedException {
        if (options.getProperty("trustStore") != null) {
            System.setProperty("javax.net.ssl.trustStore", options.getProperty("trustStore"));
        }
        while (true) {
            try (Connection session = DriverManager.getConnection(options.getProperty("url"), options);
                    Statement statement = session.createStatement()) {
                for (int each = 1; each <= REQUESTS; each++) {
                    statement.execute("select 1");
                    count();
                    if (each % NOTED_EVERY == 0) {
                        note(id);
                    }
                    Thread.sleep(PAUSE_MS);
                }
            } catch (SQLException error) {
                lost++;
                said = error + " / " + error.getCause();
                note(id);
                Thread.sleep(PAUSE_MS);
            }
        }
    }

    private void count() {
        long now = System.currentTimeMillis();
        longestGap = lastAnswer == 0 ? 0 : Math.max(longestGap, now - lastAnswer);
        lastAnswer = now;
        answered++;
    }

    private void note(String id) throws IOException {
        boolean tls = "verify-full".equals(options.getProperty("sslmode"));
        String text = String.format(Locale.ROOT,
                "[{\"id\": \"%s\", \"tls\": %b, \"sent\": %d, \"answered\": %d, \"lost\": %d, \"resent\": 0, "
                + "\"late\": 0, \"longest_gap_ms\": %d, \"said\": \"%s\"}]",
                id, tls, answered + lost, answered, lost, longestGap, said.replaceAll("[\\p{Cntrl}\"\\\\]+", " "));
        Path fresh = file.resolveSibling("tally.new");
        Files.write(fresh, text.getBytes(StandardCharsets.UTF_8));
        Files.move(fresh, file, StandardCopyOption.ATOMIC_MOVE);
    }

    private static long noted(String before, String name) {
        Matcher found = Pattern.compile("\"" + name + "\": (\\d+)").matcher(before);
        return found.find() ? Long.parseLong(found.group(1)) : 0;
    }
}
